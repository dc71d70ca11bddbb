"""Kill -9 at random moments of the nightly command, with everything it started; then simply run it again.

A disturbed night is one of two: the first ever, or the one after a new export has come. It is run, killed
at a moment drawn from the length of an undisturbed night, run again, perhaps killed again (also while it
mends what the kill before has left), until a run ends by itself. After each kill readers must see a whole
file of one run: what was published before, or what an undisturbed night publishes. After the end it must be
the latter, the command must have said success, and nothing may lie about that a person would have to clean
away.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from dagster_project import run_lock
from tests.pipeline.nightly_bench import AS_OF
from tests.soak.nights import Nights
from tests.soak.outcome import Outcome
from tests.soak.published import Fingerprint, NotWhole

FIRST_NIGHT, NEXT_NIGHT = "first night", "next night"
_MOST_KILLS_IN_A_ROW = 4


@dataclass
class Tally:
    """What all kills came to; shared by those who kill at the same time."""

    wanted: int
    deadline: float
    kills: int = 0
    chains: int = 0
    in_recovery: int = 0
    at: Counter[str] = field(default_factory=Counter)
    served: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    guard: threading.Lock = field(default_factory=threading.Lock)

    @property
    def goes_on(self) -> bool:
        """Whether another chain of kills is begun."""
        return self.kills < self.wanted and time.monotonic() < self.deadline


@dataclass
class Lane:
    """One business that is killed over and over, with what an undisturbed night leaves."""

    nights: Nights
    before: dict[str, Fingerprint | None] = field(default_factory=dict)
    after: dict[str, Fingerprint] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @classmethod
    def prepare(cls, folder: Path, niceness: int) -> "Lane":
        """Run the first night and the next one undisturbed, and keep what each begins with."""
        lane = cls(Nights.create(folder))
        lane.nights.niceness = niceness
        lane._undisturbed(FIRST_NIGHT, None)
        lane.nights.keep(NEXT_NIGHT)
        lane.nights.deliver(AS_OF)
        lane._undisturbed(NEXT_NIGHT, lane.nights.published())
        return lane

    def _undisturbed(self, night: str, before: Fingerprint | None) -> None:
        ended = self.nights.run()
        if ended.code != 0:
            raise RuntimeError(f"an undisturbed {night} failed: {ended.complained[-500:]}")
        published = self.nights.published()
        assert published is not None
        self.before[night], self.after[night], self.seconds[night] = before, published, ended.seconds

    def begin(self, night: str) -> None:
        """Put the business back to the evening before a night."""
        self.nights.put_back(None if night == FIRST_NIGHT else NEXT_NIGHT)

    def chain(self, night: str, chance: random.Random, tally: Tally) -> None:
        """Kill a night once or several times, and let it end."""
        self.begin(night)
        wanted = chance.choice((1, 1, 2, _MOST_KILLS_IN_A_ROW))
        killed = 0
        while True:
            may_kill = killed < wanted
            moment = chance.uniform(0.0, self.seconds[night]) if may_kill else None
            ended = self.nights.run(kill_after=moment)
            if ended.code >= 0:
                break
            killed += 1
            with tally.guard:
                tally.kills += 1
                tally.in_recovery += killed > 1
                tally.at[ended.last_step] += 1
                self._judge_kill(night, f"{night}, killed after {moment:.1f} s", tally)
        with tally.guard:
            tally.chains += 1
            tally.failures += self._judge_end(night, killed, ended.code, ended.complained)

    def _judge_kill(self, night: str, where: str, tally: Tally) -> None:
        try:
            seen = self.nights.published()
        except NotWhole as problem:
            tally.failures.append(f"{where}: {problem}")
            return
        before, after = self.before[night], self.after[night]
        if seen is None or (before is not None and not seen.differs_in(before)):
            tally.served["the version before" if seen else "nothing yet, as before"] += 1
            if before is not None and seen is None:
                tally.failures.append(f"{where}: what was published is gone")
        elif not seen.differs_in(after):
            tally.served["the new version"] += 1
        else:
            tally.failures.append(f"{where}: readers see neither version: {seen.differs_in(after)[:5]}")

    def _judge_end(self, night: str, killed: int, code: int, complained: str) -> list[str]:
        where = f"{night}, run again after {killed} kills"
        if code != 0:
            return [f"{where}: ended with {code}: {complained[-300:]}"]
        try:
            seen = self.nights.published()
        except NotWhole as problem:
            return [f"{where}: {problem}"]
        found = []
        if seen is None or (differing := seen.differs_in(self.after[night])):
            found.append(
                f"{where}: other tables than an undisturbed night: {differing[:5] if seen else 'none'}"
            )
        if left := self.nights.leftovers():
            found.append(f"{where}: left behind: {', '.join(left[:5])}")
        if run_lock.holder(self.nights.business.data / "run.lock") is not None:
            found.append(f"{where}: the run lock is still held")
        return found


def kill_nights(
    folder: Path,
    kills: int,
    seconds: float,
    seed: int = 1,
    lanes: int = 1,
    niceness: int = 10,
    is_told: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Kill so many times, on so many businesses side by side, or as often as the seconds allow."""
    outcome = Outcome("Kill -9 at random moments of the nightly command")
    tally = Tally(kills, time.monotonic() + seconds)
    lengths: list[float] = []

    def work(number: int) -> None:
        chance = random.Random(seed * 1_000 + number)
        lane = Lane.prepare(folder / f"lane{number}", niceness)
        lengths.append(lane.seconds[NEXT_NIGHT])
        while tally.goes_on:
            lane.chain(FIRST_NIGHT if chance.random() < 0.25 else NEXT_NIGHT, chance, tally)
            is_told("; ".join([f"{tally.kills} kills", *tally.failures[-1:]]))

    def guarded(number: int) -> None:
        try:
            work(number)
        except Exception as error:
            tally.failures.append(f"lane {number} ended early: {type(error).__name__}: {error}")

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(lanes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    outcome.failures += tally.failures
    outcome.require(tally.kills > 0, "not one kill: nothing was shown")
    outcome.say(
        f"{tally.kills} kills in {tally.chains} nights ({tally.in_recovery} of them in the run after "
        f"another); each followed by the plain command; an undisturbed night took "
        f"{max(lengths, default=0):.0f} s"
    )
    told = ", ".join(f"{step} {count}" for step, count in tally.at.most_common())
    outcome.say(f"last step done at the kill: {told}")
    told = ", ".join(f"{what} {count}" for what, count in tally.served.most_common())
    outcome.say(f"readers saw after the kill: {told}")
    outcome.say(
        f"{tally.chains} times the tables at the end were compared with those of an undisturbed night"
    )
    return outcome
