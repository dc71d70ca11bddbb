"""Nights that something spoils: a full disk, a second run, another clock, another time zone, missed nights.

Each begins like the next night of the kills and must end like it: with the tables of an undisturbed night, or
with one clear sentence and the version before, and then a plain run mends it.
"""

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import duckdb

from dagster_project.publish.versions import current_file
from dagster_project.settings import REPOSITORY
from tests.pipeline.nightly_bench import AS_OF
from tests.soak.nightly_kills import NEXT_NIGHT, Lane
from tests.soak.nights import Ended, Nights
from tests.soak.outcome import Outcome
from tests.soak.published import Fingerprint, NotWhole, fingerprint

FAKE_TIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
ZONES = ("Asia/Kolkata", "America/St_Johns", "Pacific/Kiritimati")


_IN_A_NAMESPACE = ("unshare", "--map-root-user", "--mount", "sh", "-ec")
_FULL_DISK = """
mount -t tmpfs -o size="$SIZE" tmpfs "$STAGELEDGER_DATA"
cp -a "$KEPT"/. "$STAGELEDGER_DATA"/
set +e
"$@" >"$OUT/said1" 2>"$OUT/complained1"; echo $? >"$OUT/code1"
cp -a "$STAGELEDGER_DATA"/published "$OUT"/published1
mount -o remount,size=8g "$STAGELEDGER_DATA"
"$@" >"$OUT/said2" 2>"$OUT/complained2"; echo $? >"$OUT/code2"
cp -a "$STAGELEDGER_DATA"/. "$OUT"/data
"""


def spoil_nights(
    folder: Path, seconds: float, seed: int, niceness: int, is_told: Callable[[str], None]
) -> Outcome:
    """One night of each kind, in turns, until the seconds are used up; each kind at least once."""
    outcome = Outcome("Full disks, two runs at once, clocks, time zones, missed nights")
    until, chance = time.monotonic() + seconds, random.Random(seed)
    lane = Lane.prepare(folder, niceness)
    kinds = (_missed_nights, _full_disk, _two_at_once, _other_zone, _other_clock)
    turn = 0
    while turn < len(kinds) or time.monotonic() < until:
        kind = kinds[turn % len(kinds)] if turn < len(kinds) else _full_disk
        lane.begin(NEXT_NIGHT)
        outcome.say(f"{kind.__name__.strip('_').replace('_', ' ')}: {kind(lane, chance, outcome)}")
        is_told(outcome.lines[-1])
        turn += 1
    return outcome


def _missed_nights(lane: Lane, chance: random.Random, outcome: Outcome) -> str:
    """The next night comes five days after the first: each of the days has its forecast."""
    ended = lane.nights.run()
    outcome.require(ended.code == 0, f"missed nights: {ended.complained[-300:]}")
    path = current_file(lane.nights.business.data / "published")
    assert path is not None
    with duckdb.connect(str(path), read_only=True) as connection:
        rows = connection.execute("select distinct as_of from forecast_bookings order by as_of").fetchall()
    found = [day for (day,) in rows]
    days = [found[0] + timedelta(days=step) for step in range((found[-1] - found[0]).days + 1)]
    missing = [day for day in days if day not in found]
    is_whole = len(found) > 5 and found[-1] == AS_OF and not missing
    outcome.require(is_whole, f"missed nights: forecasts of {found}, none of {missing}")
    return f"forecasts of {len(found)} days up to {found[-1]}, {len(missing)} are missing"


def _full_disk(lane: Lane, chance: random.Random, outcome: Outcome) -> str:
    """The data folder on a disk that is full somewhere in the night; then room is made, and it runs again."""
    nights, out = lane.nights, lane.nights.folder / "full"
    shutil.rmtree(out, ignore_errors=True)
    (out / "data").mkdir(parents=True)
    kept = nights.folder / NEXT_NIGHT
    files = [path for path in kept.rglob("*") if path.is_file() and not path.is_symlink()]
    used = sum(path.stat().st_blocks * 512 for path in files)
    room = chance.randrange(0, 80_000_000)
    shutil.rmtree(nights.business.data)
    nights.business.data.mkdir()
    command = ["nice", "-n", str(nights.niceness), sys.executable, "-m", "dagster_project", "run"]
    ran = subprocess.run(
        [*_IN_A_NAMESPACE, _FULL_DISK, "sh", *command],
        cwd=REPOSITORY,
        env={
            **os.environ,
            "STAGELEDGER_CONFIG": str(nights.business.config),
            "STAGELEDGER_DATA": str(nights.business.data),
            "KEPT": str(kept),
            "OUT": str(out),
            "SIZE": str(used + room),
        },
        capture_output=True,
        text=True,
    )
    if ran.returncode != 0:
        return f"not tried: needs a mount namespace ({ran.stderr.strip()[-100:]})"
    where = f"disk full with {room / 1e6:.0f} MB left"
    code = int((out / "code1").read_text())
    told = (out / "complained1").read_text().strip()
    if code != 0:
        outcome.require("Traceback" not in told, f"{where}: a traceback: {told[-300:]}")
        words = ("space", "MB free", "disk", "Disk", "room")
        outcome.require(any(word in told for word in words), f"{where}: no word of the disk: {told[-300:]}")
    seen = _seen(out / "published1", outcome, where)
    if seen is not None and seen.differs_in(lane.after[NEXT_NIGHT]):
        before = lane.before[NEXT_NIGHT]
        is_before = before is not None and not seen.differs_in(before)
        outcome.require(is_before, f"{where}: readers see neither version")
    said_after = (out / "complained2").read_text()
    outcome.require(
        int((out / "code2").read_text()) == 0,
        f"{where}: the run after: {said_after[-300:]}",
    )
    nights.put_back("full/data")
    _require_after(lane, outcome, where)
    told = " ".join(told.split())[:160] or "it fitted"
    return f"{room / 1e6:.0f} MB left: {told}; run again with room: as undisturbed"


def _two_at_once(lane: Lane, chance: random.Random, outcome: Outcome) -> str:
    """A second command while the first one works: it ends with one sentence that names the other."""
    first = lane.nights.start()
    time.sleep(chance.uniform(0, lane.seconds[NEXT_NIGHT] / 3))
    began = time.monotonic()
    second = lane.nights.run()
    seconds = time.monotonic() - began
    _, complained = first.communicate()
    codes = sorted((first.returncode, second.code))
    outcome.require(codes[0] == 0, f"two at once: neither ended well: {codes}: {complained[-300:]}")
    told = second.complained if second.code else complained
    if codes[1] != 0:
        outcome.require("Only one run writes at a time" in told, f"two at once: {told[-300:]}")
        outcome.require("Traceback" not in told, f"two at once: a traceback: {told[-300:]}")
    _require_after(lane, outcome, "two at once")
    return f"exit codes {codes} after {seconds:.0f} s; {' '.join(told.split())[:120]}"


def _other_zone(lane: Lane, chance: random.Random, outcome: Outcome) -> str:
    """The machine is moved to another time zone: no table changes."""
    zone = chance.choice(ZONES)
    ended = lane.nights.run(TZ=zone)
    outcome.require(ended.code == 0, f"TZ={zone}: {ended.complained[-300:]}")
    _require_after(lane, outcome, f"TZ={zone}")
    return f"{zone}: as undisturbed"


def _other_clock(lane: Lane, chance: random.Random, outcome: Outcome) -> str:
    """The clock of the machine goes a day wrong, and right again the night after."""
    if not FAKE_TIME.exists():
        return f"not tried: {FAKE_TIME} is not there (apt install libfaketime)"
    found = []
    for shift in ("-1d", "+1d"):
        lane.begin(NEXT_NIGHT)
        ended = lane.nights.run(LD_PRELOAD=str(FAKE_TIME), FAKETIME=shift, FAKETIME_DONT_FAKE_MONOTONIC="1")
        outcome.require(ended.code == 0, f"clock {shift}: {ended.complained[-300:]}")
        seen = lane.nights.published()
        differing = [] if seen is None else seen.differs_in(lane.after[NEXT_NIGHT])
        again = lane.nights.run()
        outcome.require(again.code == 0, f"clock right again after {shift}: {again.complained[-300:]}")
        found.append(
            f"{shift}: ran, {len(differing)} tables tell another day of reading ({', '.join(differing)})"
        )
    return "; ".join(found)


def _require_after(lane: Lane, outcome: Outcome, where: str) -> None:
    seen = _seen(lane.nights.business.data / "published", outcome, where)
    if seen is None:
        outcome.failures.append(f"{where}: nothing is published")
    elif differing := seen.differs_in(lane.after[NEXT_NIGHT]):
        outcome.failures.append(f"{where}: other tables than an undisturbed night: {differing[:5]}")
    if left := lane.nights.leftovers():
        outcome.failures.append(f"{where}: left behind: {', '.join(left[:5])}")


def _seen(published: Path, outcome: Outcome, where: str) -> Fingerprint | None:
    path = current_file(published)
    try:
        return None if path is None else fingerprint(path)
    except NotWhole as problem:
        outcome.failures.append(f"{where}: {problem}")
        return None


def many_nights(
    folder: Path, seconds: float, niceness: int, is_told: Callable[[str], None], wanted: int = 30
) -> Outcome:
    """Night after night with a new export each; at the end everything is built anew, and must be the same."""
    outcome = Outcome(f"{wanted} nights in a row")
    until = time.monotonic() + seconds
    nights = Nights.create(folder, first_day=AS_OF - timedelta(days=wanted))
    nights.niceness = niceness
    done, day = 0, AS_OF - timedelta(days=wanted)
    sizes: list[int] = []
    while done <= wanted and time.monotonic() < until:
        ended = _night_of(nights, day)
        if not outcome.require(ended.code == 0, f"night of {day}: {ended.complained[-300:]}"):
            break
        sizes.append(sum(path.stat().st_size for path in nights.business.data.rglob("*") if path.is_file()))
        done, day = done + 1, day + timedelta(days=1)
        is_told(f"{done} nights")
    before = nights.published()
    rebuilt = nights.run(arguments=("--rebuild",))
    outcome.require(rebuilt.code == 0, f"building all anew: {rebuilt.complained[-300:]}")
    after = nights.published()
    if before is None or after is None:
        outcome.failures.append("nothing is published")
    elif differing := after.differs_in(before):
        outcome.failures.append(f"built anew, other rows than night by night: {differing[:8]}")
    if left := nights.leftovers():
        outcome.failures.append(f"left behind: {', '.join(left[:5])}")
    outcome.say(
        f"{done} nights; then everything built anew: the same rows; the data folder grew from "
        f"{sizes[0] / 1e6:.0f} to {sizes[-1] / 1e6:.0f} MB"
    )
    return outcome


def _night_of(nights: Nights, day: date) -> Ended:
    nights.deliver(day)
    return nights.run()
