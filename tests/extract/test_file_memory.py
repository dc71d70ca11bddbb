"""What was read before: the same bytes land once, a better mapping replaces, a killed extraction goes on."""

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from small_business import DEALS, NOW, STAGES, Business

from dagster_project.extract.files import connector as files
from dagster_project.extract.landing import MANIFEST

HEADER = "ID,Stage,Amount,Close,Created\n"
LATER = NOW + timedelta(days=1)
ENTERED = "    stage_entered: {Offer: Created}\n"


def visible(business: Business) -> dict[str, bytes]:
    """Every file of the landing that a reader can see."""
    root = business.landing.root / "files"
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_the_same_bytes_twice_change_nothing(business: Business) -> None:
    business.source = DEALS + STAGES + ENTERED
    business.write("deals.csv", HEADER + "D1,Offer,5,,2026-03-01\nD2,Offer,x,,\n")
    first = business.extract()
    before = visible(business)
    second = business.extract(now=LATER)
    assert visible(business) == before
    assert second.batches == ()
    assert [report.status for report in second.files] == ["unchanged", "unchanged"]
    assert [report.rejects for report in second.files] == [report.rejects for report in first.files]


def test_the_same_bytes_under_another_name_land_nothing(business: Business) -> None:
    path = business.write("deals_a.csv", HEADER + "D1,Offer,5,,\n")
    business.extract()
    path.rename(business.folder / "deals_b.csv")
    assert business.extract(now=LATER).batches == ()


def test_new_bytes_under_the_same_name_are_a_new_delivery(business: Business) -> None:
    business.write("deals.csv", HEADER + "D1,Offer,5,,\n")
    business.extract()
    business.write("deals.csv", HEADER + "D1,Won,5,,\n")
    business.extract(now=LATER)
    deals = [
        (d["stage"], d["_"]["is_initial_load"], d["_"]["extracted_at"].day) for d in business.landed("deals")
    ]
    assert deals == [("Offer", True, 2), ("Won", False, 3)]


def test_a_better_mapping_replaces_the_reading_but_not_when_it_was_known(business: Business) -> None:
    business.write("deals.csv", HEADER + "D1,Offer,5,,2026-03-01 12:00:00\n")
    business.extract()
    business.source = "    time_zone: UTC\n" + DEALS + STAGES + ENTERED
    business.extract(now=LATER)
    (deal,) = business.landed("deals")
    assert deal["created_at"] == "2026-03-01 12:00:00"  # was 11:00, read as Amsterdam's time
    assert (deal["_"]["extracted_at"].day, deal["_"]["is_initial_load"]) == (2, True)
    assert len(business.landed("stage_history")) == 1
    assert len([read for read in business.landed("reads") if read["entity"] == "deals"]) == 1


def test_the_same_bytes_under_a_newer_date_only_move_the_data_on(business: Business) -> None:
    business.write("deals_2026-03-30.csv", HEADER + "D1,Offer,5,,\n")
    business.extract()
    business.write("deals_2026-03-31.csv", HEADER + "D1,Offer,5,,\n")
    business.extract(now=LATER)
    assert len(business.landed("deals")) == 1
    reads = [r for r in business.landed("reads") if r["entity"] == "deals"]
    assert [(r["data_as_of"], r["rows_kept"], r["rows_duplicate"]) for r in reads] == [
        ("2026-03-30", "1", "0"), ("2026-03-31", "0", "1"),
    ]  # fmt: skip
    assert business.extract(now=LATER).batches == ()


def test_files_land_in_the_order_of_the_dates_in_their_names(business: Business) -> None:
    business.write("deals_b_20260330.csv", HEADER + "D1,Offer,5,,\n")
    business.write("deals_a_20260331.csv", HEADER + "D1,Won,5,,\n")
    business.extract()
    assert [deal["stage"] for deal in business.landed("deals")] == ["Offer", "Won"]


@pytest.mark.parametrize("stop_at", range(6))
def test_an_extraction_stopped_after_any_batch_goes_on_to_the_same_landing(
    business: Business, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    business.source = DEALS + STAGES + ENTERED
    business.write("deals.csv", HEADER + "D1,Offer,5,,2026-03-01\nD2,Offer,x,,\n")
    written = []
    land = files.ReadLog.land

    def stopping(self: files.ReadLog, *arguments: object, **more: object) -> None:
        if len(written) == stop_at:
            raise KeyboardInterrupt
        written.append(arguments[1])
        land(self, *arguments, **more)

    monkeypatch.setattr(files.ReadLog, "land", stopping)
    with pytest.raises(KeyboardInterrupt):
        business.extract()
    monkeypatch.setattr(files.ReadLog, "land", land)
    business.extract(now=LATER)
    counts = {e: len(business.landed(e)) for e in ("stages", "deals", "stage_history", "rejects", "reads")}
    assert counts == {"stages": 4, "deals": 1, "stage_history": 1, "rejects": 1, "reads": 2}
    assert business.landed("deals")[0]["_"]["is_initial_load"] is True
    assert business.landed("stage_history")[0]["_"]["is_initial_load"] is True


KILLED = """
import sys, time
sys.path.insert(0, {tests!r})
from pathlib import Path
from small_business import Business
from dagster_project.extract import landing
slow = landing.sync_file
def sync(path):
    print(path.name, flush=True)
    time.sleep(0.4)
    slow(path)
landing.sync_file = sync
Business(Path({folder!r})).extract()
"""


@pytest.mark.parametrize("file", ["part-00000.parquet", MANIFEST])
def test_kill_9_while_landing_leaves_nothing_half_and_the_next_run_completes(
    business: Business, file: str
) -> None:
    business.write("deals.csv", HEADER + "".join(f"D{i},Offer,{i},,\n" for i in range(500)))
    code = KILLED.format(tests=str(Path(__file__).parent), folder=str(business.folder))
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdout is not None
    seen = []
    for (
        line
    ) in process.stdout:  # the third batch is the one of the deals, after the list of stages and its note
        seen.append(line.strip())
        if seen.count(file) == 3:
            break
    os.kill(process.pid, signal.SIGKILL)
    process.wait(timeout=10)
    assert seen.count(file) == 3
    assert business.landed("deals") == []
    assert any((business.landing.root / ".inflight").iterdir())
    assert business.extract(now=datetime.now(UTC)).of("deals")[0].rows_kept == 500
    assert len(business.landed("deals")) == 500
    assert not any((business.landing.root / ".inflight").iterdir())


def test_the_sweep_spares_a_folder_whose_process_lives(business: Business) -> None:
    from dagster_project.extract.inflight import InFlight

    with InFlight(business.landing.root).folder("alive") as folder:
        code = (
            "import sys; from pathlib import Path; from dagster_project.extract.inflight import InFlight;"
            "print(InFlight(Path(sys.argv[1])).sweep())"
        )
        swept = subprocess.run(
            [sys.executable, "-c", code, str(business.landing.root)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        assert swept.stdout.strip() == "0"
        assert folder.exists()
