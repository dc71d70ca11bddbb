"""What the linter sees in place of dbt's adapter: a dispatched macro reads as a function call."""

from collections.abc import Callable
from typing import Any

RELATIONS = {"calendar_spine": "select date '2026-01-01' as calendar_day"}


def dispatch(name: str, *_: Any) -> Callable[..., str]:
    """The stand-in for `adapter.dispatch(name)`: a call of a function with the macro's name."""

    def call(*arguments: Any) -> str:
        if name in RELATIONS:
            return RELATIONS[name]
        return f"{name}({', '.join(text(argument) for argument in arguments)})"

    return call


def text(argument: Any) -> str:
    """An argument as SQL: a list as the columns or literals that it names."""
    if isinstance(argument, list | tuple):
        return f"row({', '.join(text(item) for item in argument)})"
    return str(argument)
