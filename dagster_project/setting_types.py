"""The small types that all blocks of the configuration share."""

from datetime import date
from typing import Annotated, Any
from zoneinfo import available_timezones

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from dagster_project.yaml_document import nearest


class Section(BaseModel):
    """A frozen block of the configuration that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


def _time_zone(name: Any) -> Any:
    zones = sorted(available_timezones())
    if name in zones:
        return name
    guess = nearest(str(name), zones) or nearest(str(name), [zone.rpartition("/")[2] for zone in zones])
    hint = f"did you mean {next(z for z in zones if z.endswith(guess))!r}? " if guess else ""
    raise ValueError(f"{name!r} is no time zone; {hint}write a name such as Europe/Amsterdam or UTC")


def _iso_date(value: Any) -> Any:
    if value is None or isinstance(value, date):
        return value
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        raise ValueError(f"{value!r} is no date; write year-month-day such as 2026-03-31") from None


def _name(value: Any) -> Any:
    """An id may be written as a number."""
    text = str(value).strip() if isinstance(value, int | str) and not isinstance(value, bool) else value
    if text == "":
        raise ValueError("the name is empty; write a name or an id")
    return text


TimeZone = Annotated[str, BeforeValidator(_time_zone)]
Day = Annotated[date, BeforeValidator(_iso_date)]
Name = Annotated[str, BeforeValidator(_name)]
Share = Annotated[float, Field(ge=0, le=1)]
