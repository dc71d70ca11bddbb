"""The block `metrics:`: the choices inside the metrics' definitions. Each default is the product's own."""

import hashlib
import json
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from dagster_project.setting_types import Name, Section, Share


def _small(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


class WinRate(Section):
    """Which deals a win rate counts; `fct_rated_deals` tells the side of each deal and why."""

    population: Literal["all", "from_stage"] = "all"
    no_decision: Literal["loss", "excluded"] = "loss"
    disqualified: Literal["excluded", "loss"] = "excluded"
    min_amount: Decimal | None = Field(None, ge=0)
    stale_open_as_lost_after_days: Literal["off"] | int = "off"

    @field_validator("stale_open_as_lost_after_days", mode="before")
    @classmethod
    def _off_or_days(cls, value: Any) -> Any:
        if value is False or value == "off":
            return "off"
        text = str(value)
        if text.isdigit() and int(text) > 0:
            return int(text)
        raise ValueError(f"{value!r} is not allowed; write off, or a whole number of days such as 180")

    @property
    def stale_days(self) -> int | None:
        """Days without a sign of life after which an open deal counts as lost; None when none does."""
        days = self.stale_open_as_lost_after_days
        return None if days == "off" else days


class OutcomeDates(Section):
    """Which date says when a deal was won or lost: its close date, or the event of closing."""

    won: Literal["close_date", "event"] = "close_date"
    lost: Literal["close_date", "event"] = "close_date"


class Cycle(Section):
    """`statistic`: None quotes the median as the cycle; velocity divides by the mean, as in the field."""

    from_: Literal["created", "stage"] = Field("created", alias="from")
    statistic: Literal["median", "mean"] | None = None


class Velocity(Section):
    basis: Literal["closed", "created", "worked"] = "closed"


class Coverage(Section):
    scope: Literal["qualified", "all"] = "all"
    include_past_due: bool = True
    exclude_dead: bool = False


class Pace(Section):
    """Shares of the later winners' time in stage above which a deal is slow, stalled or dead."""

    slow: Share = 0.80
    stalled: Share = 0.95
    dead: Share = 0.995

    @model_validator(mode="after")
    def _shares_rise(self) -> Self:
        if not self.slow < self.stalled < self.dead:
            raise ValueError(
                f"slow {self.slow:g}, stalled {self.stalled:g}, dead {self.dead:g}: each must be above "
                "the one before it, such as {slow: 0.80, stalled: 0.95, dead: 0.995}"
            )
        return self


class Segments(Section):
    """`region_from`: None takes the deal's own region, else its owner's, else its account's."""

    region_from: Literal["owner", "deal", "account"] | None = None


class Exclude(Section):
    """Deals that no metric and no forecast counts: by name or id, whatever the case."""

    pipelines: tuple[Name, ...] = ()
    deal_types: tuple[Name, ...] = ()
    owners: tuple[Name, ...] = ()


class Metrics(Section):
    """Sample floors, tolerances and choices of definition."""

    qualified_stage: str | None = None
    min_sample: int = Field(20, ge=1)
    min_sample_median: int = Field(5, ge=1)
    transient_seconds: int = Field(60, ge=0)
    entry_tolerance_seconds: int = Field(60, ge=0)
    bulk_deals: int = Field(100, ge=2)
    grace_business_days: int = Field(3, ge=0)
    activity_days: int = Field(14, ge=1)
    amount_measure: Annotated[Literal["amount", "arr", "tcv"], BeforeValidator(_small)] = "amount"
    estimate_open_amounts_from_list_price: bool = False
    win_rate: WinRate = WinRate()
    dates: OutcomeDates = OutcomeDates()
    cycle: Cycle = Cycle()
    velocity: Velocity = Velocity()
    coverage: Coverage = Coverage()
    pace: Pace = Pace()
    segments: Segments = Segments()
    exclude: Exclude = Exclude()

    @model_validator(mode="after")
    def _what_counts_from_a_stage_has_one(self) -> Self:
        if self.coverage.scope == "qualified" and self.qualified_stage is None:
            raise ValueError(
                "coverage.scope: qualified needs metrics.qualified_stage, the first stage that counts"
            )
        if self.win_rate.population == "from_stage" and self.qualified_stage is None:
            raise ValueError(
                "win_rate.population: from_stage needs metrics.qualified_stage, the stage a deal must have "
                "reached to be in a win rate; name it, or write `population: all`"
            )
        return self

    @model_validator(mode="after")
    def _list_prices_are_amounts(self) -> Self:
        if self.estimate_open_amounts_from_list_price and self.amount_measure != "amount":
            raise ValueError(
                f"estimate_open_amounts_from_list_price: a list price is no {self.amount_measure.upper()}; "
                "remove it, or measure by amount"
            )
        return self

    def changes(self) -> dict[str, Any]:
        """The settings that differ from the defaults, as a nested mapping."""
        return json.loads(self.model_dump_json(exclude_defaults=True, by_alias=True))

    @property
    def definition_version(self) -> str:
        """'default', or a short hash of the settings that differ from it."""
        changes = self.changes()
        if not changes:
            return "default"
        return hashlib.sha256(json.dumps(changes, sort_keys=True).encode()).hexdigest()[:10]
