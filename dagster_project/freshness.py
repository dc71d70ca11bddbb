"""What is due when: freshness policies over all assets, and a check on the data that are served."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import duckdb

from dagster_project.publish.assets import PUBLISHED_MARTS_KEY
from dagster_project.publish.versions import current_file
from dagster_project.settings import Settings

DUE_CRON = "0 7 * * *"
DUE_HOUR = 7
DUE_WINDOW = timedelta(hours=7)


def with_freshness(settings: Settings, assets: Sequence[dg.AssetsDefinition]) -> list[dg.AssetsDefinition]:
    """Every asset is due each morning. The policy sees any partition: the check on data stands beside it."""
    policy = dg.FreshnessPolicy.cron(
        deadline_cron=DUE_CRON, lower_bound_delta=DUE_WINDOW, timezone=settings.business.time_zone
    )
    return [
        asset.map_asset_specs(lambda spec: spec.replace_attributes(freshness_policy=policy))
        for asset in assets
    ]


def build_data_check(settings: Settings) -> dg.AssetChecksDefinition:
    """A backfill of an old day turns a freshness policy green; this check looks into the published data."""

    @dg.asset_check(
        asset=PUBLISHED_MARTS_KEY,
        name="newest_day_is_published",
        description="The published file speaks of the last business day that is due, or of a later one.",
    )
    def newest_day_is_published() -> dg.AssetCheckResult:
        published, due = published_as_of(settings), due_day(settings, datetime.now(UTC))
        return dg.AssetCheckResult(
            passed=published is not None and published >= due,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"published: {published or 'nothing'}; due: {due}",
            metadata={"published as_of": str(published), "due": str(due)},
        )

    return newest_day_is_published


def published_as_of(settings: Settings) -> date | None:
    """The as-of day of the published file; None while there is none."""
    path = current_file(settings.paths.published_dir)
    if path is None:
        return None
    with duckdb.connect(str(path), read_only=True) as connection:
        row = connection.execute("select max(as_of) from _publish").fetchone()
    return row[0] if row else None


def due_day(settings: Settings, now: datetime) -> date:
    """The as-of day that must be published by `now`.

    A fixed `as_of`, or the oldest `data_as_of` of the sources, says that the data are not expected to grow.
    Otherwise the last weekday before today, counted from the hour at which the nightly run is due.
    """
    if isinstance(settings.business.as_of, date):
        return settings.business.as_of
    local = now.astimezone(settings.business.zone)
    day = local.date() - timedelta(days=1 if local.hour >= DUE_HOUR else 2)
    while day.isoweekday() > 5:
        day -= timedelta(days=1)
    fixed = [told for source in settings.sources if (told := getattr(source, "data_as_of", None))]
    return min([day, *fixed])
