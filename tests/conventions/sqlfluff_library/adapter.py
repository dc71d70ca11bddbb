"""What the linter sees in place of dbt's adapter: a dispatched macro reads as a function call."""

from collections.abc import Callable, Mapping
from typing import Any

RELATIONS = {"calendar_spine": "select date '2026-01-01' as calendar_day"}
EXPLODED = {"each_item": "item, item_number", "each_entry": "entry_key, entry_value"}


def dispatch(name: str, *_: Any) -> Callable[..., str]:
    """The stand-in for `adapter.dispatch(name)`: a call of a function with the macro's name."""

    def call(*arguments: Any) -> str:
        if name in RELATIONS:
            return RELATIONS[name]
        if name in EXPLODED:
            relation, columns, _ = arguments
            return f"select {', '.join(columns)}, {EXPLODED[name]} from {relation}"
        return f"{name}({', '.join(text(argument) for argument in arguments)})"

    return call


def text(argument: Any) -> str:
    """An argument as SQL: a list as the texts that it names, which may be words that SQL reserves."""
    if isinstance(argument, Mapping):
        return "'a shape'"
    if isinstance(argument, list | tuple):
        items = (str(item).replace("'", "''") for item in argument)
        return "row(" + ", ".join(f"'{item}'" for item in items) + ")"
    return str(argument)
