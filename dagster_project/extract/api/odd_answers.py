"""Answers that are good JSON and yet not what the interface describes: told as such, with their place.

A record without an id, a number where an object should be, an instant that is none: a connector trips over
them wherever it looks into an answer. What it then raises becomes SourceUnavailable here, in one place for
all connectors, so that an odd answer ends in the report of its entity and the others go on.
"""

import functools
import inspect
import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dagster_project.extract.api.api_errors import Place, SourceUnavailable

if TYPE_CHECKING:
    from dagster_project.extract.api.protocol import Connector

logger = logging.getLogger(__name__)

# What looking into a value of another shape raises.
_TRIPPED = (
    LookupError,
    TypeError,
    AttributeError,
    ValueError,
    ArithmeticError,
    AssertionError,
    RecursionError,
)
_REMEDY = (
    "nothing of it was landed and earlier data keep serving; run again, and if it stays so report the text"
)


def told_with_its_place(method: Callable[..., Any]) -> Callable[..., Any]:
    """A connector's method that trips over odd answers as SourceUnavailable, and hands out whole records."""
    if inspect.isgeneratorfunction(method):

        @functools.wraps(method)
        def pages(connector: "Connector", *arguments: Any, **named: Any) -> Iterator[Any]:
            try:
                for page in method(connector, *arguments, **named):
                    _require_whole(page)
                    yield page
            except _TRIPPED as error:
                raise _odd(connector, method, arguments, error) from error

        return pages

    @functools.wraps(method)
    def answer(connector: "Connector", *arguments: Any, **named: Any) -> Any:
        try:
            found = method(connector, *arguments, **named)
            _require_whole(found)
        except _TRIPPED as error:
            raise _odd(connector, method, arguments, error) from error
        return found

    return answer


def _odd(
    connector: "Connector", method: Callable[..., Any], arguments: Sequence[Any], error: Exception
) -> SourceUnavailable:
    entity = getattr(arguments[0], "name", "") if arguments else ""
    place = Place(connector.client.account, entity or "probe", method.__name__)
    logger.warning("%s: an odd answer", place, exc_info=error)
    words = " ".join(str(error).split())[:200]
    what = f"an answer is not written as the interface describes it ({type(error).__name__}: {words})"
    return SourceUnavailable(place, what, _REMEDY)


def _require_whole(found: Any) -> None:
    """Ids and records can be landed as they are. Errors: TypeError, ValueError, OverflowError."""
    for record_id in getattr(found, "ids", ()):
        _require_id(record_id)
    records = found if isinstance(found, list) else getattr(found, "records", ())
    for record in (*records, *getattr(found, "companions", ())):
        if not hasattr(record, "payload"):
            continue
        _require_id(record.record_id)
        record.payload.encode()
        _require_instant(record.modified_at)


def _require_id(record_id: Any) -> None:
    if not isinstance(record_id, str) or not record_id:
        raise TypeError(f"{record_id!r} is no id of a record")
    record_id.encode()


def _require_instant(at: datetime | None) -> None:
    if at is None:
        return
    if at.tzinfo is None:
        raise ValueError(f"{at} does not say its time zone")
    at.astimezone(UTC)
