"""What is due when: freshness policies over all assets, and a check on the data that are served."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import duckdb

from dagster_project.extract.as_of import reached_days
from dagster_project.forecast.tables import BOOKINGS
from dagster_project.publish.assets import PUBLISHED_MARTS_KEY
from dagster_project.publish.versions import current_file
from dagster_project.settings import ApiSource, Settings

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
    day = last_weekday(settings, now)
    fixed = [told for source in settings.sources if (told := getattr(source, "data_as_of", None))]
    return min([day, *fixed])


def last_weekday(settings: Settings, now: datetime) -> date:
    """The last weekday before today; the one before, until the hour at which the nightly run is due."""
    local = now.astimezone(settings.business.zone)
    day = local.date() - timedelta(days=1 if local.hour >= DUE_HOUR else 2)
    while day.isoweekday() > 5:
        day -= timedelta(days=1)
    return day


@dataclass(frozen=True)
class Reach:
    """How far the data of a source reach.

    `day`: None while nothing dated has arrived. `is_fixed`: by `data_as_of`, so that they are not expected to
    grow. `is_read_by_us`: a CRM, not files that others deliver.
    """

    source: str
    day: date | None
    is_fixed: bool
    is_read_by_us: bool


def build_source_check(settings: Settings) -> dg.AssetChecksDefinition:
    """A forecast knows no more than its slowest source: the check says which one that is, and since when."""

    @dg.asset_check(
        asset=BOOKINGS.name,
        name="sources_are_up_to_date",
        description="No source is further behind than `alerts: source_lag_business_days` allows.",
    )
    def sources_are_up_to_date() -> dg.AssetCheckResult:
        return judge_sources(
            source_reaches(settings),
            last_weekday(settings, datetime.now(UTC)),
            settings.alerts.source_lag_business_days,
            settings.business.as_of if isinstance(settings.business.as_of, date) else None,
        )

    return sources_are_up_to_date


def source_reaches(settings: Settings) -> list[Reach]:
    """The sources of the configuration, and how far each reaches by what has landed."""
    days = reached_days(settings)
    return [
        Reach(
            source.name,
            found.day if (found := days[source.name]) else None,
            getattr(source, "data_as_of", None) is not None,
            isinstance(source, ApiSource),
        )
        for source in settings.sources
    ]


def judge_sources(
    reaches: Sequence[Reach], due: date, allowed: int, looks_back_to: date | None = None
) -> dg.AssetCheckResult:
    """The result of the check on the day when `due` is the last business day that is over.

    A late CRM is an error: it is read every night, so a lag means that reading fails. Late files are a
    warning: somebody else delivers them. `looks_back_to`: a fixed as-of day; none needs to reach further.
    """
    needed = min(due, looks_back_to) if looks_back_to else due
    late = late_sources(reaches, needed, allowed)
    told = [one.sentence for one in late]
    is_ours = any(one.is_read_by_us for one in late)
    return dg.AssetCheckResult(
        passed=not told,
        severity=dg.AssetCheckSeverity.ERROR if is_ours else dg.AssetCheckSeverity.WARN,
        description=f"{'; '.join(told)}. {remedy(is_ours)}" if told else f"no source is late for {needed}",
        metadata={
            "due": str(needed),
            "allowed_business_days": allowed,
            **{f"reach of {one.source}": _reach_in_words(one, lag_of(one, needed)) for one in reaches},
        },
    )


@dataclass(frozen=True)
class LateSource:
    """A source that is behind, and by how much in words."""

    source: str
    sentence: str
    is_read_by_us: bool


def late_sources(reaches: Sequence[Reach], needed: date, allowed: int) -> list[LateSource]:
    """Sources more than `allowed` business days behind `needed`, the latest first; then the silent ones."""
    lags = {one: lag for one in reaches if (lag := lag_of(one, needed)) is not None and lag > allowed}
    late = sorted(lags, key=lambda one: (-lags[one], one.source))
    return [
        *(
            LateSource(
                one.source,
                f"{one.source} reaches {one.day} and is {lags[one]:,} business days behind {needed}",
                one.is_read_by_us,
            )
            for one in late
        ),
        *(
            LateSource(one.source, f"{one.source} has delivered nothing dated yet", one.is_read_by_us)
            for one in reaches
            if one.day is None
        ),
    ]


def lag_of(reach: Reach, needed: date) -> int | None:
    """Business days by which a source is behind; None where it is silent, or is not expected to grow."""
    return None if reach.day is None or reach.is_fixed else weekdays_between(reach.day, needed)


def remedy(is_read_by_us: bool) -> str:
    """What to do about a late source."""
    if is_read_by_us:
        return "Look at the last runs that land it."
    return "Deliver a newer export, or write `data_as_of:` at the source if its data are not to grow."


def weekdays_between(day: date, due: date) -> int:
    """Weekdays after `day` up to `due`; 0 where it reaches further."""
    return sum(
        date.fromordinal(number).isoweekday() <= 5
        for number in range(day.toordinal() + 1, due.toordinal() + 1)
    )


def _reach_in_words(reach: Reach, lag: int | None) -> str:
    if reach.day is None:
        return "nothing dated yet"
    if reach.is_fixed:
        return f"{reach.day} (data_as_of: not expected to grow)"
    return f"{reach.day}, {lag:,} business days behind" if lag else f"{reach.day}"
