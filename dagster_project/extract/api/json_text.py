"""JSON answers, and their records with their own text: a number keeps every digit it was sent with."""

import json
import re
from dataclasses import dataclass
from typing import Any

import orjson

from dagster_project.extract.api.api_errors import Malformed

_BLANKS = " \t\r\n"  # a blank of another kind is no JSON
_BLANK = re.compile(r"[ \t\r\n]*")
_FIRST_KEY = re.compile(r'\{[ \t\r\n]*"[^"\\]*"[ \t\r\n]*:')
# Objects inside a record may begin as records do: after so many wrong guesses its end is looked for in order.
_GUESSES = 3
# An escape: a pair of surrogates, half of one, or any other (the second of two backslashes begins none).
_ESCAPE = re.compile(
    r"\\(?:(?P<pair>u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    r"|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


def _refuse_constant(name: str) -> Any:
    raise Malformed(f"the answer holds {name}, which is no number")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


@dataclass(frozen=True, slots=True)
class RawRecord:
    """One element of a list: its `text` as the CRM sent it, and its parsed `value`, to decide by.

    A number of more than 64 bits may be rounded in `value`, as fractions are; what is kept is the text.
    """

    value: Any
    text: str


@dataclass(frozen=True)
class Listing:
    """An answer with a list of records. `fields`: everything around the list (paging, totals)."""

    fields: dict[str, Any]
    records: list[RawRecord]


def without_half_characters(text: str) -> str:
    """JSON with U+FFFD for each escape of half a character (an emoji that a CRM has cut in two).

    Python takes them, DuckDB refuses the whole record: one would end every build from its landing on.
    """
    if "\\ud" not in text and "\\uD" not in text:
        return text
    return _ESCAPE.sub(lambda found: "\\ufffd" if found["half"] else found[0], text)


def read_listing(text: str, *path: str) -> Listing:
    """Split an answer at the list under `path` (`"results"`, or `"data", "items"`); no path: it is a list.

    Errors: Malformed when the text is no such JSON, or has no list there.
    """
    try:
        records: list[RawRecord] = []
        at, fields = _value(text, _skip(text, 0), path, records)
        if _skip(text, at) != len(text):
            raise Malformed("the answer goes on after its end")
    except RecursionError:
        raise Malformed("the answer is nested without end") from None
    except Malformed:
        raise
    except (ValueError, IndexError, StopIteration) as error:
        raise Malformed(f"the answer is no JSON ({error})") from None
    return Listing(fields if isinstance(fields, dict) else {}, records)


def require_json(body: bytes) -> Any:
    """The body as JSON. Errors: Malformed for an empty body, HTML, NaN, or nesting without end."""
    if not body.strip():
        raise Malformed("the answer is empty")
    try:
        text = body.decode(json.detect_encoding(body))
        return json.loads(without_half_characters(text), parse_constant=_refuse_constant)
    except RecursionError:
        raise Malformed("the answer is nested without end") from None
    except Malformed:
        raise
    except ValueError as error:
        what = "HTML" if body[:40].lstrip().startswith(b"<") else f"no JSON ({error})"
        raise Malformed(f"the answer is {what}") from None


def _value(text: str, at: int, path: tuple[str, ...], records: list[RawRecord]) -> tuple[int, Any]:
    """The end of the value at `at`, and the value with the list at the end of `path` left out."""
    if not path:
        return _list(text, at, records), None
    if text[at] != "{":
        raise Malformed(f"there is no object with the key {path[0]!r}")
    fields: dict[str, Any] = {}
    is_found = False
    at = _skip(text, at + 1)
    while text[at] != "}":
        key, at = _DECODER.raw_decode(text, at)
        if not isinstance(key, str):
            raise Malformed(f"the answer is no JSON (no name before {at})")
        at = _expect(text, at, ":")
        if key == path[0]:
            is_found = True
            at, inner = _value(text, at, path[1:], records)
            if inner is not None:
                fields[key] = inner
        else:
            fields[key], at = _DECODER.raw_decode(text, at)
        at = _next(text, at, "}")
    if not is_found:
        raise Malformed(f"the key {path[0]!r} is missing")
    return at + 1, fields


def _list(text: str, at: int, records: list[RawRecord]) -> int:
    if text[at] != "[":
        raise Malformed("there is no list where the records should be")
    at = _skip(text, at + 1)
    border = ""
    while text[at] != "]":
        if border:
            at = _until_no_guess(text, at, border, records)
        value, end = _DECODER.raw_decode(text, at)
        records.append(RawRecord(value, text[at:end]))
        at = _next(text, end, "]")
        if not border and (key := _FIRST_KEY.match(text, at)):
            border = text[end : key.end()]
    return at + 1


def _until_no_guess(text: str, at: int, border: str, records: list[RawRecord]) -> int:
    """Append records while each ends where the text goes on like the `border` of the first two; where not.

    The parser of orjson takes half the time of the one that tells where a value ends, but must be given the
    end. A guess is right exactly when the text up to it is one object: none begins with another whole one.
    """
    gap = border.index("{")
    end, wrong = at, 0
    while wrong < _GUESSES and (end := text.find(border, end + 1)) >= 0:
        piece = text[at:end].rstrip(_BLANKS)
        try:
            records.append(RawRecord(orjson.loads(piece), piece))
        except orjson.JSONDecodeError:
            wrong += 1
        else:
            at = end = end + gap
            wrong = 0
    return at


def _next(text: str, at: int, end: str) -> int:
    """Where the next member begins, or the closing mark stands."""
    at = _skip(text, at)
    if text[at] == end:
        return at
    at = _expect(text, at, ",")
    if text[at] == end:
        raise Malformed(f"the answer is no JSON (a comma before the end at {at})")
    return at


def _expect(text: str, at: int, mark: str) -> int:
    at = _skip(text, at)
    if text[at] != mark:
        raise Malformed(f"the answer is no JSON (no {mark!r} at {at})")
    return _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    match = _BLANK.match(text, at)
    return match.end() if match else at
