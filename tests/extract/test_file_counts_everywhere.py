"""In every format and layout, with every defect: each row is kept, rejected or a duplicate, as it must be."""

import shutil
import tempfile
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from odd_files import LAYOUTS, OddFile, odd_file
from small_business import STAGES, Business

from dagster_project.extract.files.results import FileReport


def assert_fates(business: Business, odd: OddFile, report: FileReport) -> None:
    """The counts of a file, its landed rows and its landed rejects are what was drawn."""
    assert (report.status, report.adds_up) == ("read", True), report.problem
    found = (report.rows_kept, report.rows_rejected, report.rows_duplicate)
    assert found == (odd.kept, odd.rejected, odd.duplicate), (report.rejects, odd.content)
    assert report.rows_read == odd.kept + odd.rejected + odd.duplicate
    landed = [row for row in business.landed(report.entity) if row.get("change_source") != "date_column"]
    rejects = [row for row in business.landed("rejects") if row["entity"] == report.entity]
    assert (len(landed), len(rejects)) == (odd.kept, odd.rejected)


@pytest.mark.parametrize("layouts", [("deals", "change log"), ("date columns", "field history")])
@pytest.mark.parametrize("form", ["csv", "gz", "zip", "jsonl", "parquet", "xlsx"])
@settings(
    max_examples=2,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),
)
@given(seed=st.integers(1, 2**32))
def test_every_row_has_the_fate_it_must_have(
    empty_landing: Path, form: str, layouts: tuple[str, str], seed: int
) -> None:
    rng = Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(empty_landing, Path(folder) / "data" / "landing")
        source = "".join(LAYOUTS[name].source for name in layouts)
        business = Business(Path(folder), source=source + STAGES)
        files = [odd_file(rng, LAYOUTS[name], form) for name in layouts]
        for odd in files:
            business.write(odd.name, odd.content)
        result = business.extract()
        for name, odd in zip(layouts, files, strict=True):
            (report,) = result.of(LAYOUTS[name].entity)
            assert_fates(business, odd, report)
