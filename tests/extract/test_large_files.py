"""Large files are read in parts: memory does not grow with the file, and people see how far it has come."""

import subprocess
import sys
from pathlib import Path

from small_business import Business

from dagster_project.extract.files.progress import ReadProgress

MEASURED = """
import resource, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
import pyarrow as pa
from small_business import Business
business = Business(Path({folder!r}), extra="memory_limit: 500MB\\n")
settings = business.settings()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
(report,) = business.extract().of("deals")
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(report.rows_kept, grown // 1024, pa.default_memory_pool().max_memory() // 1024**2)
"""


def test_the_rows_of_a_large_file_never_lie_in_memory_all_at_once(tmp_path: Path) -> None:
    rows, remark = 150_000, "long remarks " * 90
    with (tmp_path / "deals.csv").open("w") as stream:
        stream.write("ID,Stage,Amount,Close,Created,Remark\n")
        for start in range(0, rows, 1_000):
            lines = (f"D{n},Offer,{n},,2026-03-01,{remark}{n}\n" for n in range(start, start + 1_000))
            stream.write("".join(lines))
    assert (tmp_path / "deals.csv").stat().st_size > 170_000_000
    code = MEASURED.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    repository = str(Path(__file__).parents[2])
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=repository
    )
    kept, grown, by_arrow = map(int, told.stdout.split())
    assert kept == rows
    # The rows on their way take less than the file; the database keeps within its limit.
    assert by_arrow < 140
    assert grown < 600


def test_progress_is_told_every_five_seconds_until_the_last_row() -> None:
    lines: list[str] = []
    ticks = iter([0.0, 2.0, 5.0, 7.0, 11.0, 30.0])
    progress = ReadProgress("deals.csv", lines.append, lambda: next(ticks))
    progress.begin(2_000_000_000)
    progress.expect(5_000)
    for _ in range(5):
        progress.add(1_000)
    assert lines == [
        "deals.csv: 2,000 MB, counting its rows",
        "deals.csv: 2,000 of 5,000 rows read",
        "deals.csv: 4,000 of 5,000 rows read",
    ]


def test_a_row_too_long_to_be_read_is_named(business: Business) -> None:
    texts = ",".join(["x" * 900_000] * 6)
    business.write("deals.csv", f"ID,Stage,A,B,C,D,E,F\nD1,Offer,{texts}\nD2,Offer,{texts}\n")
    assert "has a row of more than 2 MB; export it without that text" in (business.report().problem or "")
