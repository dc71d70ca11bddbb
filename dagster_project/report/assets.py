"""The Dagster skin of the report: one asset, `report`, downstream of the published file."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from dagster_project.charts.chart_images import chart_markdown
from dagster_project.charts.quarter_charts import pacing_chart
from dagster_project.report.marts import Marts
from dagster_project.report.published import open_published
from dagster_project.report.report_file import (
    NothingPublished,
    ReportNotWritten,
    WrittenReport,
    write_report,
)
from dagster_project.report.slices import Slice
from dagster_project.settings import Metrics, Settings

_DESCRIPTION = """The page that people read: `published/report.html`, one file that opens without a network.

Written from the published file alone. `report: {pages: [full, team, board]}` in pipeline.yaml says which
editions: the whole business, one file per team, one without names of deals and reps. Where it cannot be
written only this step fails: the published file serves, and the earlier page stays.
"""


def build_report_assets(settings: Settings, published_key: dg.AssetKey) -> list[dg.AssetsDefinition]:
    """`report`, downstream of the asset that publishes."""

    @dg.asset(
        name="report",
        deps=[published_key],
        group_name="report",
        description=_DESCRIPTION,
        owners=["team:data-engineering"],
        kinds={"html"},
    )
    def report() -> dg.MaterializeResult:
        try:
            written = write_settings_report(settings)
        except (NothingPublished, ReportNotWritten) as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        return dg.MaterializeResult(metadata={**describe(written), **_charts(settings)})

    return [report]


def write_settings_report(settings: Settings) -> WrittenReport:
    """The report of the settings' published file, with their editions. Raises as `write_report` does."""
    return write_report(
        settings.paths.published_file,
        settings.paths.published_dir,
        settings.business.name,
        settings.business.currency,
        settings.report.pages,
        list(changed_settings(settings.metrics)),
    )


def changed_settings(metrics: Metrics) -> Iterator[tuple[str, str]]:
    """Name and value of every metric setting that differs from its default."""

    def differing(values: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
        for name, value in values.items():
            if isinstance(value, dict):
                yield from differing(value, f"{path}{name}.")
            else:
                yield f"{path}{name}", str(value)

    yield from differing(metrics.model_dump(mode="json", exclude_defaults=True), "")


def describe(written: WrittenReport) -> dict[str, dg.MetadataValue]:
    """Where the pages are, and what they took."""
    first = written.pages[0] if written.pages else None
    links = "\n".join(f"- [{page.path.name}]({page.path.as_uri()})" for page in written.pages)
    found: dict[str, dg.MetadataValue] = {
        "files": dg.MetadataValue.md(links or "no team has deals, so there is no page per team"),
        "as_of": dg.MetadataValue.text(written.stamp.as_of.isoformat()),
        "megabytes": dg.MetadataValue.float(round(sum(page.size_bytes for page in written.pages) / 1e6, 2)),
        "cpu_seconds": dg.MetadataValue.float(round(written.cpu_seconds, 2)),
    }
    if first is not None:
        found["path"] = dg.MetadataValue.path(str(first.path))
        found["link"] = dg.MetadataValue.url(first.path.as_uri())
    return found


def _charts(settings: Settings) -> dict[str, dg.MetadataValue]:
    """The pace of the quarter, by the specification that the page draws."""
    with open_published(settings.paths.published_file) as published:
        rows = Slice().own(Marts(published, settings.business.currency).pacing)
    picture = chart_markdown(
        pacing_chart(rows, settings.business.currency), "won by the business day, beside quarters before"
    )
    return {"pace": dg.MetadataValue.md(picture)}
