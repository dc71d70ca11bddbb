"""Whatever a file holds: rows read = kept + rejected + duplicate, and each row has the fate it must have."""

import csv
import io
import shutil
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_business import DEALS, STAGES, Business

from dagster_project.extract.files.reading import read_csv
from dagster_project.settings import Format

GOOD_AMOUNTS = st.sampled_from(
    ["", "0", "5 EUR", "(5)", "€5", "£ 7-", "5", "-1.50", "12345.678", "1e3", " 7 "]
)
BAD_AMOUNTS = st.sampled_from(["TBD", "1,5", "5 XYZ", "EUR", "--1", "1e99", "NaN", "inf"])
GOOD_DATES = st.sampled_from(["", "2026-03-31", "2031-01-01", "2026-03-31 10:00", "2026-03-31T23:59:59Z"])
BAD_DATES = st.sampled_from(["2026-02-30", "31/03/2026", "1900-01-01", "soon", "2026-13-01"])
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8).map(
    lambda text: text + "x"
)


@st.composite
def rows(draw: st.DrawFn) -> tuple[list[list[str]], list[bool]]:
    """Rows of a deals file, each with its own id, and whether each must be kept when met first."""
    made: list[list[str]] = []
    good: list[bool] = []
    for number in range(draw(st.integers(0, 12))):
        fate = draw(st.sampled_from(["good", "good", "amount", "date", "no stage", "short", "long", "again"]))
        if fate == "again" and made:
            index = draw(st.integers(0, len(made) - 1))
            made.append(made[index])
            good.append(good[index])
            continue
        amount = draw(BAD_AMOUNTS if fate == "amount" else GOOD_AMOUNTS)
        close = draw(BAD_DATES if fate == "date" else GOOD_DATES)
        stage = "" if fate == "no stage" else draw(TEXTS)
        row = [f"D{number}", stage, amount, close, draw(TEXTS) + draw(st.sampled_from(["", "\n", '"', ";,"]))]
        row = row[:3] if fate == "short" else [*row, "more"] if fate == "long" else row
        made.append(row)
        good.append(fate in ("good", "again"))
    return made, good


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows())
def test_every_row_is_kept_rejected_or_a_duplicate(
    empty_landing: Path, drawn: tuple[list[list[str]], list[bool]]
) -> None:
    made, good = drawn
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(empty_landing, Path(folder) / "data" / "landing")
        business = Business(Path(folder), source=DEALS + STAGES)
        text = io.StringIO()
        csv.writer(text).writerows([["ID", "Stage", "Amount", "Close", "Note"], *made])
        business.write("deals.csv", text.getvalue())
        report = business.report()
        kept = [deal["deal_id"] for deal in business.landed("deals")]
        rejected = business.landed("rejects")
    first = {tuple(row): fine for row, fine in reversed(list(zip(made, good, strict=True)))}
    assert (report.status, report.adds_up) == ("read", True)
    assert report.rows_read == len(made)
    assert report.rows_kept == len(kept) == sum(first.values())
    assert Counter(kept) == Counter(row[0] for row, fine in first.items() if fine)
    assert report.rows_rejected == len(rejected) == len(first) - sum(first.values())
    assert report.rows_duplicate == len(made) - len(first)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x00")), min_size=3, max_size=3),
        max_size=8,
    ),
    st.sampled_from([",", ";", "\t", "|"]),
    st.booleans(),
)
def test_values_and_lines_are_those_of_the_csv_module(
    values: list[list[str]], delimiter: str, quote_all: bool
) -> None:
    text = io.StringIO(newline="")
    quoting = csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL
    csv.writer(text, delimiter=delimiter, quoting=quoting).writerows([["a", "b", "c"], *values])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.csv"
        path.write_text(text.getvalue(), encoding="utf-8", newline="")
        batches = list(read_csv(path, ["a", "b", "c"], Format(delimiter=delimiter)).batches)
    found = [[row["c0"], row["c1"], row["c2"]] for batch in batches for row in batch.to_pylist()]
    reader = csv.reader(io.StringIO(text.getvalue(), newline=""), delimiter=delimiter)
    starts, line = [], 1
    expected = []
    for row in reader:
        starts.append(line)
        expected.append(row)
        line = reader.line_num + 1
    assert found == expected[1:]
    assert [row["line"] for batch in batches for row in batch.to_pylist()] == starts[1:]
