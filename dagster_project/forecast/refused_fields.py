"""Fields of deals that tell the outcome: filled in when a deal closes, and shown at its earlier days too.

Whether a source's field is one is decided on the whole ledger (model int_refused_fields): on a past day's
ledger, cut out of that of today, such a field looks as if it had been known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dagster_project.warehouse import Warehouse

REFUSED_FIELDS = "forecast.int_refused_fields"
AMOUNT_FIELD, CLOSE_DATE_FIELD = "amount", "close_date"


@dataclass(frozen=True)
class RefusedField:
    """A field of a source that forecasts do without, and what says so (a day, and shares 0-1)."""

    source: str
    field: str
    looked_on: str
    share_closed: float
    share_still_open: float

    @property
    def reason(self) -> str:
        """Why, in words."""
        return (
            f"{self.field.replace('_', ' ')}s of {self.source} are not used: of the deals open on "
            f"{self.looked_on}, {self.share_closed:.0%} of those closed since show one on that day and "
            f"{self.share_still_open:.0%} of those still open, so it is filled in at closing"
        )


def read_refused_fields(warehouse: Warehouse) -> tuple[RefusedField, ...]:
    """The refused fields by source; none before dbt has compared them."""
    if not warehouse.has_table(REFUSED_FIELDS):
        return ()
    rows = warehouse.query(
        "select source_relation, field_name, looked_on, share_closed, share_still_open "
        f"from {REFUSED_FIELDS} where is_refused order by source_relation, field_name"
    )
    return tuple(
        RefusedField(
            str(row.source_relation),
            str(row.field_name),
            f"{row.looked_on:%Y-%m-%d}",
            float(row.share_closed),
            float(row.share_still_open),
        )
        for row in rows.itertuples()
    )


def is_known_then(field: str, refused: Sequence[RefusedField]) -> str:
    """SQL condition on `versions` (fct_deal_versions): the version's `field` was known at its time."""
    condition = f"versions.{field}_asof_quality = 'history'"
    sources = [one.source.replace("'", "''") for one in refused if one.field == field]
    if not sources:
        return condition
    listed = ", ".join(f"'{source}'" for source in sources)
    return f"({condition} and versions.source_relation not in ({listed}))"


def without_history(versions: str, refused: Sequence[RefusedField]) -> str:
    """The query `versions` (rows of fct_deal_versions) with refused fields marked as known only today."""
    fields = sorted({one.field for one in refused})
    if not fields:
        return versions
    marked = ", ".join(
        f"case when {is_known_then(field, refused)} then 'history' else 'current_values' end "
        f"as {field}_asof_quality"
        for field in fields
    )
    return f"select versions.* replace ({marked}) from ({versions}) as versions"
