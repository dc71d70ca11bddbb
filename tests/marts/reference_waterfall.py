"""The waterfall in plain Python: slice by slice from the states at both ends, by its definition.

States come from the versions of the ledger, which has tests of its own; nothing else is shared with the SQL.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal

from tests.ledger.ledger_bench import LedgerTables

DAY = timedelta(days=1)
SEGMENT_TYPES = ("total", "owner", "team", "pipeline", "region")
ZERO = Decimal(0)
Slice = tuple[str, str]
Sums = dict[Slice, Counter[str]]
InWindow = Callable[[date | None], int]


@dataclass(frozen=True)
class Version:
    """A deal from a day on."""

    from_day: date
    status: str
    is_deleted: bool
    amount: Decimal | None
    currency: str
    close_date: date | None
    owner: str
    team: str
    pipeline: str
    region: str
    is_excluded: bool = False

    @property
    def is_open(self) -> bool:
        return self.status == "open" and not self.is_deleted and not self.is_excluded

    def segment(self, segment_type: str) -> str:
        return "all" if segment_type == "total" else getattr(self, segment_type)


class Deal:
    """All versions of a deal in order; of several on one day the last is the state of the day."""

    def __init__(self, versions: Sequence[Version]) -> None:
        self.versions = versions
        self.days = [version.from_day for version in versions]
        self.closings: list[tuple[date, Version]] = []
        status = "open"
        for version in versions:
            if version.status != "open" and version.status != status:
                self.closings.append((version.from_day, version))
            status = version.status

    def at(self, day: date) -> Version | None:
        """The state at the end of a day; None before there is one."""
        found = bisect_right(self.days, day)
        return self.versions[found - 1] if found else None

    def closing(self, from_day: date, through_day: date) -> tuple[date, Version] | None:
        """The last closing by through_day, if it came after from_day and still holds at the end."""
        state = self.at(through_day)
        if state is None or state.status == "open" or state.is_deleted or state.is_excluded:
            return None
        closed = [closing for closing in self.closings if closing[0] <= through_day]
        return closed[-1] if closed and closed[-1][0] > from_day else None


class Rates:
    """Exchange rates by day; the reporting currency is worth 1."""

    def __init__(self, rates: Iterable[tuple[str, date, float]]) -> None:
        self.by_currency: dict[str, list[tuple[date, Decimal]]] = defaultdict(list)
        for currency, day, rate in sorted(rates):
            self.by_currency[currency].append((day, Decimal(rate)))

    def is_known(self, amount: Decimal | None, currency: str, day: date) -> bool:
        """Whether amount and rate are known at the end of a day."""
        is_rated = currency == "EUR" or any(from_day <= day for from_day, _ in self.by_currency[currency])
        return amount is not None and is_rated

    def value(self, amount: Decimal | None, currency: str, day: date) -> Decimal:
        """The amount in the reporting currency at the end of a day; 0 where nothing is known."""
        if amount is None or currency == "EUR":
            return amount or ZERO
        known = [rate for from_day, rate in self.by_currency[currency] if from_day <= day]
        return amount * known[-1] if known else ZERO


def read_deals(tables: LedgerTables, is_left_out: Callable[[str, str], bool] | None = None) -> list[Deal]:
    """All deals of the ledger; `is_left_out` judges a state by its pipeline and its credited owner."""
    rows = tables.query(
        """
        select v.deal_key, v.valid_from_date, v.status, v.is_deleted, v.amount_native, v.currency,
          v.close_date, o.owner, o.team, v.pipeline_id, coalesce(d.region, o.region, '(none)')
        from ledger.fct_deal_versions as v
        join ledger.dim_owner as o using (owner_key)
        join ledger.int_deals as d using (deal_key)
        order by v.deal_key, v.version_number
        """
    )
    deals: dict[str, list[Version]] = defaultdict(list)
    for key, *values in rows:
        deals[key].append(Version(*values))
    if is_left_out:
        deals = {key: _judged(versions, is_left_out) for key, versions in deals.items()}
    return [Deal(versions) for versions in deals.values()]


def _judged(versions: Sequence[Version], is_left_out: Callable[[str, str], bool]) -> list[Version]:
    """The versions with their judgement: a closed deal is credited to the owner who closed it."""
    judged, status, closer = [], "open", ""
    for version in versions:
        if version.status not in ("open", status):
            closer = version.owner
        status = version.status
        owner = version.owner if version.status == "open" or version.is_deleted else closer
        judged.append(replace(version, is_excluded=is_left_out(version.pipeline, owner)))
    return judged


def place(close_date: date | None, start: date, end: date) -> int:
    """-1 before the window, 0 in it, 1 after it; no close date is later than any."""
    if close_date is None:
        return 1
    return -1 if close_date < start else int(close_date > end)


def add_moves(sums: Sums, deal: Deal, rates: Rates, days: tuple[date, date], window: InWindow) -> None:
    """Add what the deal did between the ends of two days to the slices it touched."""
    from_day, through_day = days
    before, after = deal.at(from_day), deal.at(through_day)
    if after is None:
        return
    closing = deal.closing(from_day, through_day)
    for segment_type in SEGMENT_TYPES:
        ends = [after.segment(segment_type)]
        if closing:
            # a region may be that of the owner
            is_by_owner = segment_type != "pipeline"
            ends = [(closing[1] if is_by_owner else after).segment(segment_type)]
        slices = {ends[0]}
        if before and before.is_open:
            slices.add(before.segment(segment_type))
        if (after.is_deleted or after.is_excluded) and before:
            slices = {before.segment(segment_type)}
        for segment in slices:
            was_in = bool(before and before.is_open and window(before.close_date) == 0)
            was_in = was_in and before is not None and before.segment(segment_type) == segment
            is_in = after.is_open and window(after.close_date) == 0 and ends[0] == segment
            is_closed = closing is not None and window(after.close_date) == 0 and ends[0] == segment
            if not (was_in or is_in or is_closed):
                continue
            moves = sums[segment_type, segment]
            end_day = through_day
            if closing:
                end_day = closing[0]
                if after.status in ("won", "lost"):
                    end_day = min(after.close_date or closing[0], through_day)
            value = rates.value(after.amount, after.currency, end_day)
            moves["known"] += (is_in or is_closed) and rates.is_known(after.amount, after.currency, end_day)
            if was_in and before is not None:
                _add_from_start(moves, before, after, rates, days, end_day, value, is_in or is_closed)
                if not (is_in or is_closed):
                    moves[_way_out(before, after, segment_type, window)] -= rates.value(
                        before.amount, before.currency, from_day
                    )
            else:
                moves[_way_in(deal, before, segment_type, segment, from_day, window)] += value
            if is_closed:
                moves[after.status] -= value
            if is_in:
                moves["end"] += value


def _add_from_start(
    moves: Counter[str],
    before: Version,
    after: Version,
    rates: Rates,
    days: tuple[date, date],
    end_day: date,
    value: Decimal,
    stays_to_the_end: bool,
) -> None:
    start = rates.value(before.amount, before.currency, days[0])
    moves["start"] += start
    moves["known"] += rates.is_known(before.amount, before.currency, days[0])
    if stays_to_the_end:
        revalued = rates.value(before.amount, before.currency, end_day)
        moves["fx"] += revalued - start
        moves["increased" if value > revalued else "decreased"] += value - revalued


def _way_in(
    deal: Deal, before: Version | None, segment_type: str, segment: str, from_day: date, window: InWindow
) -> str:
    if before is None:
        return "created"
    if before.is_deleted:
        return "restored"
    if before.is_excluded:
        return "transferred_in"
    if before.status != "open":
        return "reopened"
    if before.segment(segment_type) != segment:
        return "transferred_in"
    return "pulled_in" if window(before.close_date) > 0 else "pushed_in"


def _way_out(before: Version, after: Version, segment_type: str, window: InWindow) -> str:
    if after.is_deleted:
        return "deleted_or_merged"
    if after.is_excluded:
        return "transferred_out"
    if after.status != "open":
        return "closed_outside_scope"
    if after.segment(segment_type) != before.segment(segment_type):
        return "transferred_out"
    return "pushed_out" if window(after.close_date) > 0 else "pulled_out"


def waterfall(
    deals: Sequence[Deal], rates: Rates, period: tuple[date, date], as_of: date, mode: str, scope: str
) -> Sums:
    """Bucket sums by (segment type, segment) of one period; `mode` and `scope` as in the mart.

    Beside the buckets, `known` counts the moves whose amount is known.
    """
    start, end = period
    through = min(end, as_of)

    def window(close_date: date | None) -> int:
        return 0 if scope == "rolling" else place(close_date, start, end)

    sums: Sums = defaultdict(Counter)
    if mode == "net":
        for deal in deals:
            add_moves(sums, deal, rates, (start - DAY, through), window)
        return sums
    day = start
    while day <= through:
        for deal in deals:
            add_moves(sums, deal, rates, (day - DAY, day), window)
        day += DAY
    for moves in sums.values():
        del moves["start"], moves["end"]
    return sums
