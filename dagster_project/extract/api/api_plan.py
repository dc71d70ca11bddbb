"""What the next batch of an entity reads: decided before its first request, and kept with its checkpoint."""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from dagster_project.api_settings import ApiSource
from dagster_project.extract.api.changed_deals import changed_deals
from dagster_project.extract.api.coverage import REFRESH, WINDOW, Coverage, Span, coverage, window_due
from dagster_project.extract.api.protocol import Connector, EntitySpec, Reading, Window
from dagster_project.extract.landing import Landing, Stamp

# A part of a plan's identity: what an older engine left unfinished is begun again.
ENGINE_VERSION = 1
# After a batch that was resumed, the rest up to now is read at once only if it is worth a window.
_SHORTEST_FOLLOW_UP = timedelta(hours=1)
_ID_FORMAT = "%Y%m%dT%H%M%S%f"


@dataclass(frozen=True)
class BatchPlan:
    """One batch: its stamp and its window. `identity`: the configuration that its pages depend on.

    `kind`: WINDOW, or REFRESH for all records once more. `companion`: the entity whose records come in the
    same answers and become a batch of their own.
    """

    identity: str
    batch_id: str
    extracted_at: datetime
    is_initial_load: bool
    window: Window
    is_watermarked: bool = False
    follows_through: str | None = None
    kind: str = WINDOW
    companion: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As a checkpoint keeps it."""
        data = asdict(self)
        start, end = self.window.start, self.window.end
        return data | {
            "extracted_at": self.extracted_at.isoformat(),
            "window": [start.isoformat() if start else None, end.isoformat()],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "BatchPlan":
        """Back from a checkpoint."""
        start, end = (datetime.fromisoformat(text) if text else None for text in data["window"])
        assert end is not None
        at = datetime.fromisoformat(data["extracted_at"])
        return cls(**{**data, "extracted_at": at, "window": Window(start, end)})


class Planner:
    """Plans the batches of one run over one source."""

    def __init__(
        self, landing: Landing, source: ApiSource, connector: Connector, span: Span, reread: bool
    ) -> None:
        self._landing = landing
        self._source = source
        self._connector = connector
        self._span = span
        self._reread = reread
        self._lookback = connector.LOOKBACK if source.lookback is None else source.lookback

    def identity(self, spec: EntitySpec) -> str:
        """What a batch depends on beside its window: pages of two configurations never mix."""
        connector = self._connector
        parts = [ENGINE_VERSION, self._source.type, connector.api_version, spec.reading.value]
        asked = [sorted(connector.properties(spec))]
        if companion := connector.companion(spec):
            asked.append(sorted(connector.properties(companion)))
        text = json.dumps([*parts, self._source.base_url, *asked])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def next_batch(
        self, spec: EntitySpec, covered: Coverage, is_follow_up: bool, wanted: Collection[str] = ()
    ) -> tuple[BatchPlan, list[str]] | None:
        """The plan, and for BY_DEAL the deals to ask for; None when nothing is due.

        `wanted`: the entities that the run lands; the first load of one may bring another of them along.
        """
        if spec.reading is Reading.BY_DEAL:
            return self._by_deal(spec, covered)
        found = self._window(spec, covered, is_follow_up)
        if found is None:
            return None
        plan = self._plan(spec, covered, *found)
        return replace(plan, companion=self._companion(spec, plan.window, wanted)), []

    def refresh(self, spec: EntitySpec, covered: Coverage) -> BatchPlan:
        """The plan that reads every record once more, whatever is covered."""
        window = Window(None, self.server_now() - self._connector.HOLDBACK)
        return replace(self._plan(spec, covered, window, False), is_initial_load=False, kind=REFRESH)

    def stamp(self, spec: EntitySpec, newest_id: str, is_initial: bool) -> Stamp:
        """A batch that begins now by the CRM's clock. Ids of an entity's batches always ascend."""
        now = self.server_now()
        batch_id = f"{now:{_ID_FORMAT}}Z"
        if batch_id <= newest_id:
            # The CRM's clock was set back, or two batches began within one microsecond.
            before = datetime.strptime(newest_id.rstrip("Z"), _ID_FORMAT).replace(tzinfo=now.tzinfo)
            now = before + timedelta(microseconds=1)
            batch_id = f"{now:{_ID_FORMAT}}Z"
        return Stamp(self._source.name, spec.name, batch_id, now, is_initial, self._source.type)

    def server_now(self) -> datetime:
        """Now by the CRM's clock; the first call may ask for it."""
        client = self._connector.client
        if not client.knows_server_time:
            self._connector.probe()
        return client.server_now()

    def _plan(self, spec: EntitySpec, covered: Coverage, window: Window, is_watermarked: bool) -> BatchPlan:
        is_initial = covered.until is None or bool(covered.left)
        stamp = self.stamp(spec, covered.newest_id, is_initial)
        return BatchPlan(
            self.identity(spec), stamp.batch_id, stamp.extracted_at, is_initial, window, is_watermarked
        )

    def _companion(self, spec: EntitySpec, window: Window, wanted: Collection[str]) -> str | None:
        """What has never been loaded comes along with the first load of what it follows."""
        companion = self._connector.companion(spec) if window.start is None else None
        if companion is None or companion.name not in wanted:
            return None
        landed = coverage(self._landing, self._source.name, companion.name)
        return companion.name if landed.until is None else None

    def _by_deal(self, spec: EntitySpec, covered: Coverage) -> tuple[BatchPlan, list[str]] | None:
        deals = coverage(self._landing, self._source.name, spec.follows)
        if deals.until is None:
            return None
        fresh = changed_deals(deals.batches, covered.follows_through, spec.history_fields)
        todo = list(dict.fromkeys([*fresh, *covered.left]))
        if not todo and covered.until is not None and covered.until >= deals.until:
            return None
        plan = self._plan(spec, covered, Window(covered.until, deals.until), False)
        return replace(plan, follows_through=deals.newest_id), todo

    def _window(self, spec: EntitySpec, covered: Coverage, is_follow_up: bool) -> tuple[Window, bool] | None:
        reread = self._reread and not is_follow_up
        if covered.until is not None and covered.until >= self._span.end and not reread:
            return None  # without a single request
        end = self._span.window_end(self.server_now() - self._connector.HOLDBACK)
        if is_follow_up and covered.until is not None and end - covered.until < _SHORTEST_FOLLOW_UP:
            return None
        due = window_due(covered, self._span.start, end, self._lookback, reread=reread)
        if due is None:
            return None
        if spec.reading is Reading.WHOLE:
            return Window(None, due.end), False
        mark = self._connector.watermark(spec, due.start)
        if mark is None:
            return due, False
        settled = due.start if covered.until is None or reread else covered.until
        if settled is not None and mark.covered_until <= settled:
            return None  # the CRM says that nothing newer is settled yet
        return Window(due.start, min(due.end, mark.covered_until)), True
