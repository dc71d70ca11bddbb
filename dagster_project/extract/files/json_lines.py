"""JSON Lines as rows of text: one object a line, its keys the columns. A broken line breaks itself alone."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dagster_project.extract.api.json_text import without_half_characters
from dagster_project.extract.files.rows import FileUnfinished, FileUnreadable, TextRows, row_batches

_LONGEST_LINE = 4_000_000
_MOST_COLUMNS = 2_000


class _Number(str):
    """A number as the line writes it, so that no digit is lost."""


def read_json_lines(path: Path, decimal: str | None) -> TextRows:
    """Open a JSON Lines file (UTF-8). Columns are the keys of all its objects, in order of appearance.

    Numbers are written with `decimal`, the sign that texts of the file are read with.
    Errors: FileUnreadable (empty, not UTF-8, no object in it); FileUnfinished (the last line breaks off).
    """
    if path.stat().st_size == 0:
        raise FileUnreadable("is empty (0 bytes); export it again")
    headers: dict[str, None] = {}
    line, row, problem = 0, "", ""
    for line, row in _objects(path):
        if isinstance(row, str):
            problem = problem or f"line {line} {row}"
        else:
            headers |= dict.fromkeys(row)
        if len(headers) > _MOST_COLUMNS:
            raise FileUnreadable(f"has more than {_MOST_COLUMNS:,} different keys; export it as a table")
    if isinstance(row, str) and not _ends_with_newline(path):
        raise FileUnfinished(f"ends in the middle of line {line}")
    if not headers:
        found = f" ({problem})" if problem else ""
        raise FileUnreadable(f"has no line that is a JSON object{found}; export one object a line, or CSV")
    names = list(headers)
    rows = (
        (line, row if isinstance(row, str) else [_text(row.get(name), decimal) for name in names])
        for line, row in _objects(path)
    )
    return TextRows(tuple(names), row_batches(rows, len(names)))


def _objects(path: Path) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
    with path.open("rb") as stream:
        number = 0
        while text := stream.readline(_LONGEST_LINE):
            number += 1
            if len(text) == _LONGEST_LINE and not text.endswith(b"\n"):
                raise FileUnreadable(f"has a line of more than {_LONGEST_LINE // 10**6} MB (line {number})")
            if number == 1:
                text = text.removeprefix(b"\xef\xbb\xbf")
            if text.strip():
                yield number, _object(text)


def _object(line: bytes) -> Mapping[str, Any] | str:
    try:
        text = without_half_characters(line.decode("utf-8"))
        found = json.loads(text, parse_float=_Number, parse_int=_Number, parse_constant=_refuse)
    except UnicodeDecodeError as error:
        return f"is not UTF-8 text (byte {error.start + 1})"
    except RecursionError:
        return "is nested too deep"
    except ValueError as error:
        return f"is no JSON ({error})"
    return found if isinstance(found, dict) else "is JSON, but no object of names and values"


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number")


def _text(value: Any, decimal: str | None) -> str | None:
    if value is None:
        return None
    if isinstance(value, _Number):
        return value.replace(".", ",") if decimal == "," else str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(_as_numbers(value), ensure_ascii=False)


def _as_numbers(value: Any) -> Any:
    """A nested value with its numbers as numbers again."""
    if isinstance(value, dict):
        return {name: _as_numbers(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_as_numbers(inner) for inner in value]
    return json.loads(value) if isinstance(value, _Number) else value


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as stream:
        stream.seek(-1, 2)
        return stream.read() == b"\n"
