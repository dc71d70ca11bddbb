"""SQL that dbt models and the forecast share: macros of the dbt project, rendered for the embedded engine.

The models build evidence for every week; the forecast asks the same questions about other days. Both render
one macro, so a day is answered alike by either way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import jinja2

MACROS = Path(__file__).resolve().parents[2] / "dbt" / "macros"
FOLDERS = ("engine", "hazards", "segments")
ENGINE = "duckdb"

Macro = Callable[..., str]
_MACRO_NAME = re.compile(r"{%-?\s*macro\s+(\w+)")


class MacroMissing(LookupError):
    """A macro was asked for that the dbt project does not have."""


@cache
def _macros() -> Mapping[str, Macro]:
    texts = [
        path.read_text(encoding="utf-8")
        for folder in FOLDERS
        for path in sorted((MACROS / folder).glob("*.sql"))
    ]
    found: dict[str, Macro] = {}

    def late(name: str) -> Macro:
        # Files may call each other's macros in any order: a name is looked up when it is called.
        return lambda *arguments, **named: found[name](*arguments, **named)

    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, extensions=["jinja2.ext.do"])
    names = [name for text in texts for name in _MACRO_NAME.findall(text)]
    environment.globals.update({name: late(name) for name in names})
    environment.globals["adapter"] = SimpleNamespace(dispatch=lambda name: found[f"{ENGINE}__{name}"])
    environment.globals["dbt"] = SimpleNamespace(type_string=lambda: "varchar")
    for text in texts:
        module = vars(environment.from_string(text).module)
        found.update({name: module[name] for name in names if name in module})
    return found


def shared_sql(macro: str, *arguments: object, **named: object) -> str:
    """The SQL of a dbt macro of one of the folders `FOLDERS` of `macros`.

    Raises:
        MacroMissing: the project has no macro of that name.
    """
    found = _macros()
    if macro not in found:
        raise MacroMissing(f"the dbt project has no macro {macro!r} in {' or '.join(FOLDERS)}")
    return found[macro](*arguments, **named)
