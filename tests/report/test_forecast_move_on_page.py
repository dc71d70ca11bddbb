"""What moved the forecast, on the page: the steps of the forecast that is shown, adding up to its move."""

import html
import re
from datetime import date, timedelta
from pathlib import Path

import pytest

from dagster_project.report.report_file import write_report
from tests.report.small_published import AS_OF, business, write_published

YESTERDAY, LAST_WEEK = AS_OF - timedelta(days=1), date(2026, 5, 8)
# Yesterday's forecast was 770 thousand, today's (small_published) is 800 thousand.
MOVES = (
    ("d1", "open_expected", "new deal", 45_000),
    ("d2", "open_expected", "lost", -12_000),
    ("(none)", "not_yet_created_expected", "time passed", -3_000),
)


def changes_of(kind: str, prior: date, factor: int = 1) -> list[dict[str, object]]:
    return [
        {"kind": kind, "prior_as_of": prior, "prior_kind": "live", "period": "2026Q2", "quarter_offset": 0,
         "deal_key": key, "part": part, "cause": cause, "delta": delta * factor, "currency": "EUR"}
        for key, part, cause, delta in MOVES
    ]  # fmt: skip


def section_of(folder: Path, changes: list[dict[str, object]]) -> str:
    rows = business()
    # A part of the business stands before the whole, as it may in a published file.
    forecasts = [
        row if row["segment_type"] == "total" else row | {"mean": 123_000}
        for row in sorted(rows["forecast_bookings_latest"], key=lambda row: row["segment_type"] == "total")
    ]
    rows |= {"forecast_changes": changes, "forecast_bookings_latest": forecasts}
    rows["dim_deal"] = [row | {"source_relation": "crm"} for row in rows["dim_deal"]]
    file = write_published(folder / "marts.duckdb", rows)
    (written,) = write_report(file, folder, "Small & Co", "EUR").pages
    page = written.path.read_text(encoding="utf-8")
    return page.split('<section id="s3"')[1].split("</section>")[0]


def steps_in(section: str) -> list[list[str]]:
    table = section.split('data-name="forecast-changes"')[1].split("</table>")[0]
    rows = re.findall(r"<tr>\s*(<td.*?)</tr>", table, re.DOTALL)
    return [
        [re.sub(r"<[^>]+>", "", html.unescape(cell)) for cell in re.findall(r"<td.*?</td>", row, re.DOTALL)]
        for row in rows
    ]


def test_the_steps_on_the_page_add_up_to_the_move_of_the_forecast(tmp_path: Path) -> None:
    section = section_of(tmp_path, changes_of("live", YESTERDAY))
    steps = steps_in(section)
    assert [(label, after) for label, _, after in steps if label.startswith("forecast")] == [
        ("forecast before", "770,000"),
        ("forecast now", "800,000"),
    ]
    deltas = [float(delta.replace(",", "")) for _, delta, _ in steps]
    assert sum(deltas) == 800_000 - 770_000
    assert ["new deal: Alpha", "45,000", "815,000"] in steps
    assert "What moved the forecast of 2026Q2 from 14 May 2026 to 15 May 2026" in section
    drawn = section.split("<h3>What moved the forecast of 2026Q2 from")[1].split("</svg>")[0]
    assert ">new deal: Alpha" in drawn and ">+45.0" in drawn and ">-12.0" in drawn


@pytest.mark.parametrize(
    "beside",
    [changes_of("backfill", YESTERDAY), changes_of("live", LAST_WEEK, 10)],
    ids=["a forecast made again", "an older forecast"],
)
def test_changes_of_another_forecast_are_not_added(tmp_path: Path, beside: list[dict[str, object]]) -> None:
    steps = steps_in(section_of(tmp_path, [*beside, *changes_of("live", YESTERDAY)]))
    assert [after for label, _, after in steps if label == "forecast before"] == ["770,000"]
    assert len(steps) == 5


def test_with_no_forecast_before_the_page_says_so(tmp_path: Path) -> None:
    assert "what moved it is told from the second day on" in section_of(tmp_path, [])
