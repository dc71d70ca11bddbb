"""What every section needs: whom the page is for, the rows, and how a chart gets into the page."""

import logging
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from typing import Any

from dagster_project.charts.chart_spec import Spec
from dagster_project.charts.page_charts import inline_svg, title_of
from dagster_project.report.blocks import Chart, Table
from dagster_project.report.marts import Marts
from dagster_project.report.slices import Edition, Slice

logger = logging.getLogger(__name__)


@dataclass
class PageContext:
    """One page in the making."""

    marts: Marts
    edition: Edition
    business: str
    _numbers: Any = field(default_factory=lambda: count(1))

    @property
    def currency(self) -> str:
        """Reporting currency of all amounts."""
        return self.marts.currency

    @cached_property
    def team_owners(self) -> frozenset[str]:
        """Who belongs to the team today, in an edition of one team."""
        rows = self.marts.published.rows("dim_owner", "team = ?", [self.edition.base.segment])
        return frozenset(row["owner"] for row in rows)

    def when(self, part: Slice, **choices: str) -> dict[str, str]:
        """The choices for which a part of this slice is shown."""
        return ({"slice": part.key} if self.edition.others else {}) | choices

    def chart(self, spec: Spec | None, description: str, table: Table) -> Chart | Table:
        """The chart with the table behind it; the table alone where there is nothing to draw."""
        if spec is None:
            return table
        try:
            picture = inline_svg(spec, f"c{next(self._numbers)}", description)
        except ValueError as error:
            logger.warning("chart %r was not drawn: %s", table.caption, error)
            return table
        title, reading = title_of(spec)
        return Chart(picture, title, reading, table)
