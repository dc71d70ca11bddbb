"""A YAML file whose every value knows its line, so that an error can point at it."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")

Location = tuple[str | int, ...]


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong in a configuration: where, which key, and what to do about it."""

    line: int
    key: str
    message: str


class ConfigError(Exception):
    """A configuration cannot be used. The text lists every problem as `file:line: key: what and remedy`."""

    def __init__(self, path: Path, problems: Iterable[Problem]) -> None:
        self.path = path
        self.problems = tuple(sorted(set(problems)))
        count = len(self.problems)
        lines = [f"{path}:{p.line}: {p.key + ': ' if p.key else ''}{p.message}" for p in self.problems]
        head = f"{path} has {count} problems:\n  " if count > 1 else ""
        super().__init__(head + "\n  ".join(lines))


@dataclass
class YamlDocument:
    """A parsed file: `data` holds mappings, lists, text and None only (typing is the reader's work)."""

    path: Path
    data: Any
    lines: dict[Location, int]
    problems: list[Problem] = field(default_factory=list)

    def line(self, location: Sequence[str | int]) -> int:
        """Line of the value at `location`, or of the nearest thing around it that the file has."""
        at = tuple(location)
        while at and at not in self.lines:
            at = at[:-1]
        return self.lines.get(at, 1)

    def add(self, location: Sequence[str | int], message: str) -> None:
        """Note a problem at `location`."""
        self.problems.append(Problem(self.line(location), dotted(location), message))

    def raise_problems(self) -> None:
        """Raise ConfigError when problems were noted."""
        if self.problems:
            raise ConfigError(self.path, self.problems)


def read_yaml(path: Path) -> YamlDocument:
    """Parse `path`. Errors: ConfigError when the file is missing, unreadable, or no YAML mapping."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(
            path, [Problem(1, "", "there is no such file; name one with CONFIG=path")]
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(path, [Problem(1, "", "is not UTF-8 text; save it as UTF-8")]) from None
    except OSError as error:
        raise ConfigError(path, [Problem(1, "", f"cannot be read: {error.strerror}")]) from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or "is not valid YAML"
        line = mark.line + 1 if mark else 1
        message = f"is not valid YAML: {what}; check the indentation and quotes around here"
        raise ConfigError(path, [Problem(line, "", message)]) from None
    document = YamlDocument(path, None, {})
    if root is None:
        document.add((), "the file is empty; it needs at least `business:` and `sources:`")
    elif not isinstance(root, yaml.MappingNode):
        document.add((), "must be a mapping of keys such as `business:` and `sources:`")
    document.raise_problems()
    document.data = _construct(root, (), document)
    return document


def _construct(node: yaml.Node, location: Location, document: YamlDocument) -> Any:
    document.lines.setdefault(location, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "?"
            at = (*location, key)
            if key in result:
                first = document.line(at)
                document.problems.append(
                    Problem(
                        key_node.start_mark.line + 1,
                        dotted(at),
                        f"is given twice (first in line {first}); keep one",
                    )
                )
                continue
            document.lines[at] = key_node.start_mark.line + 1
            result[key] = _construct(value_node, at, document)
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_construct(item, (*location, i), document) for i, item in enumerate(node.value)]
    # Text as written: a stage called No, 007 or 2024-01-01 keeps its name.
    return None if node.tag == "tag:yaml.org,2002:null" else node.value


def dotted(location: Sequence[str | int]) -> str:
    """`('sources', 0, 'deals')` → `sources[0].deals`."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def nearest(wrong: str, allowed: Iterable[str]) -> str | None:
    """The allowed value that `wrong` most likely meant, if any is near."""
    choices = {choice.casefold(): choice for choice in allowed}
    near = difflib.get_close_matches(wrong.casefold(), choices, n=1, cutoff=0.6)
    return choices[near[0]] if near else None


def did_you_mean(wrong: str, allowed: Iterable[str]) -> str:
    """Half a sentence that names the nearest allowed value (if any is near) and all allowed ones."""
    choices = list(allowed)
    guess = nearest(wrong, choices)
    return (f"did you mean {guess!r}? " if guess else "") + f"allowed: {', '.join(choices)}"


def environment_reference(text: str) -> str | None:
    """Name of the variable when `text` is exactly one `${NAME}`, else None."""
    match = _REFERENCE.fullmatch(text.strip())
    return match.group(1) if match else None


def secret_remedy(location: Sequence[str | int]) -> str:
    """What to do about a secret written into the file."""
    words = [part for part in location if isinstance(part, str)][-2:]
    variable = "_".join(words).upper()
    return f"a secret must not stand in the file; put it in the environment and write ${{{variable}}} here"


def resolve_secret(
    document: YamlDocument, location: Sequence[str | int], environ: Mapping[str, str]
) -> str | None:
    """Value of the `${NAME}` at `location`; a literal or an unset variable becomes a problem.

    The text of a literal is never repeated in the message: it is a secret.
    """
    value: Any = document.data
    for part in location:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return None
    if value is None:
        return None
    name = environment_reference(value) if isinstance(value, str) else None
    if name is None:
        document.add(location, secret_remedy(location))
        return None
    if not environ.get(name):
        document.add(
            location,
            f"the environment variable {name} is not set; export it, or take this line out",
        )
        return None
    return environ[name]
