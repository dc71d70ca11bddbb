# ruff: noqa: RUF001
"""Values, texts and documents as nobody should write them, drawn by chance from one number."""

import json
import random
from collections.abc import Sequence
from typing import Any

import yaml

# What has broken parsers: signs of other meaning, half characters, limits of numbers and of calendars.
ODD_TEXTS = (
    "",
    " ",
    "\u00a0",
    "\x00",
    "a\x00b",
    "\ud800",
    "\U0010ffff",
    "\ufeff",
    "\u202eabc",
    "e\u0301" * 40,
    "İ",
    "ß",
    "'",
    "''",
    '"',
    '""',
    "`",
    ";",
    ",",
    "|",
    "\t",
    "\n",
    "\r",
    "\r\n",
    "\\",
    "\\N",
    "NULL",
    "null",
    "None",
    "nan",
    "-",
    "--",
    "#N/A",
    "#REF!",
    "=1+1",
    "+1",
    "@x",
    "-2+3",
    "=cmd|' /C calc'!A0",
    "${HOME}",
    "$1",
    "%s",
    "{0}",
    "{}",
    "'; drop table deals; --",
    "' or 1=1 --",
    "<script>alert(1)</script>",
    "</script>",
    "../../etc/passwd",
    "/etc/passwd",
    "1e308",
    "1e999",
    "-1e999",
    "0x10",
    "1_000",
    "1,234.5",
    "1.234,5",
    "1 234,5",
    "99999999999999999999999999999999",
    "0.1" + "0" * 300,
    "9" * 400,
    "(5)",
    "5-",
    "5%",
    "€5",
    "5 €",
    "$",
    "kr",
    "٣",
    "½",
    "１２",
    "2026-02-30",
    "0000-00-00",
    "0001-01-01",
    "9999-12-31",
    "2026-13-01",
    "10000-01-01",
    "2026-03-29 02:30:00",
    "2026-03-31T10:00:00+25:00",
    "2026-03-31T10:00:00Z",
    "31/03/2026",
    "03/04/2026",
    "20260331",
    "45000",
    "45000.99999",
    "Mar 31, 2026",
    "31 Mär 2026",
    "12:00",
    "2026-03-31 25:00",
    "-5000000",
    "infinity",
    "epoch",
    "today",
    "true",
    "TRUE",
    "yes",
    "y",
    "1",
    "0",
    "won",
    "Won ",
    "WON",
    "closed won",
    "x" * 5000,
)

_ODD_NUMBERS = (0, -1, 1, 2**31, 2**53 + 1, 2**63, 2**64, 10**40, -(10**40), 0.1, 1e308, -0.0, 1e-320)


def odd_value(chance: random.Random, depth: int = 0) -> Any:
    """A value of JSON of any kind."""
    kind = chance.randrange(9)
    if kind < 3:
        return chance.choice(ODD_TEXTS)
    if kind == 3:
        return chance.choice(_ODD_NUMBERS)
    if kind == 4:
        return chance.choice((None, True, False))
    if kind == 5 and depth < 3:
        return [odd_value(chance, depth + 1) for _ in range(chance.randrange(4))]
    if kind == 6 and depth < 3:
        return {chance.choice(ODD_TEXTS): odd_value(chance, depth + 1) for _ in range(chance.randrange(4))}
    if kind == 7:
        return chance.randrange(-5, 10**6)
    return "".join(chr(chance.randrange(1, 0x2FF)) for _ in range(chance.randrange(12)))


def disturbed(value: Any, chance: random.Random) -> Any:
    """A copy of parsed JSON with one thing in it changed: replaced, left out, doubled, renamed or turned."""
    if not isinstance(value, dict | list) or not value or chance.random() < 0.15:
        return odd_value(chance)
    if isinstance(value, dict):
        name = chance.choice(list(value))
        copy = dict(value)
        what = chance.randrange(8)
        if what == 0:
            del copy[name]
        elif what == 1:
            copy[chance.choice(ODD_TEXTS)] = copy.pop(name)
        else:
            copy[name] = disturbed(value[name], chance)
        return copy
    place = chance.randrange(len(value))
    listed = list(value)
    what = chance.randrange(8)
    if what == 0:
        del listed[place]
    elif what == 1:
        listed.insert(place, listed[place])
    elif what == 2:
        chance.shuffle(listed)
    else:
        listed[place] = disturbed(listed[place], chance)
    return listed


def disturbed_bytes(content: bytes, chance: random.Random, tokens: Sequence[bytes] = ()) -> bytes:
    """Bytes with some of them changed, cut out, doubled or replaced by a token."""
    found = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 4, 8))):
        at = chance.randrange(len(found) + 1)
        what = chance.randrange(6)
        if what == 0 and found:
            found[min(at, len(found) - 1)] = chance.randrange(256)
        elif what == 1:
            del found[at : at + chance.randrange(1, 12)]
        elif what == 2:
            found[at:at] = found[at : at + chance.randrange(1, 40)]
        elif what == 3:
            del found[at:]
        elif what == 4 and tokens:
            found[at:at] = chance.choice(tokens)
        else:
            found[at:at] = chance.choice(ODD_TEXTS).encode("utf-8", "surrogatepass")[:200]
    return bytes(found)


def json_bytes(value: Any, chance: random.Random) -> bytes:
    """JSON as one of the ways in which it is written; half characters are escaped, as CRMs send them."""
    try:
        return json.dumps(value, ensure_ascii=chance.random() < 0.5).encode()
    except UnicodeEncodeError:
        return json.dumps(value).encode()


def yaml_bytes(value: Any) -> bytes:
    """YAML of a value; half characters, which it cannot hold, are replaced."""
    return yaml.safe_dump(value, allow_unicode=True).encode("utf-8", "replace")
