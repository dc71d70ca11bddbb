"""The page as text: sentences that are true, names that stay text, editions that keep what they must keep."""

import html
import re
from datetime import date
from pathlib import Path

import pytest

from dagster_project.report import report_file
from dagster_project.report.blocks import safe_url
from dagster_project.report.errors import NothingPublished, ReportNotWritten
from dagster_project.report.report_file import write_report
from dagster_project.report.words import listed, money, of_things, share
from dagster_project.settings import Report
from tests.report.small_published import FORMULA, HOSTILE, TOTAL, business, write_published


def write(folder: Path, file: Path, *pages: str) -> dict[str, str]:
    report = write_report(file, folder, "Small & Co", "EUR", pages or ("full",))
    return {page.path.name: page.path.read_text(encoding="utf-8") for page in report.pages}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_published(tmp_path_factory.mktemp("small") / "marts.duckdb", business())


@pytest.fixture(scope="module")
def pages(small: Path) -> dict[str, str]:
    return write(small.parent, small, "full", "team", "board")


@pytest.fixture(scope="module")
def full(pages: dict[str, str]) -> str:
    return pages["report.html"]


def plain(page: str, section: int) -> str:
    """What is read in a section, without markup."""
    text = page.split(f'<section id="s{section}"')[1].split("</section>")[0]
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())


def test_the_five_sentences_say_what_the_marts_say(full: str) -> None:
    said = plain(full, 1)
    assert (
        "The open pipeline grew by EUR 50 thousand in the week from 11 May 2026, to EUR 150 thousand in "
        "3 deals: EUR 60 thousand was created and EUR 10 thousand was lost."
    ) in said
    assert (
        "EUR 400 thousand is won in 2026Q2 by business day 30 of 61, 33% of the quota of EUR 1.20 million; "
        "by this point past quarters had booked 50% of their total, so the quarter is 1 business day "
        "behind what the quota asks for."
    ) in said
    assert (
        "2026Q2 is expected to end at EUR 800 thousand, 8 times in 10 between EUR 600 thousand and EUR 1.00 "
        "million: EUR 400 thousand below the quota, which lies outside that range (82% of such ranges "
        "held in the past)."
    ) in said
    assert (
        "Look at 2 deals worth EUR 150 thousand that are stuck, silent or overdue; close or revive 1 deal "
        "worth EUR 1 thousand that is dead by pace; create or pull in EUR 650 thousand by 29 May 2026 to "
        "reach the quota of 2026Q2."
    ) in said


def test_a_sentence_without_evidence_is_not_said(full: str) -> None:
    # The file has no bottlenecks at all, so nothing is claimed about stages.
    assert "got worse" not in plain(full, 1)
    assert "Too little history to compare stages" in plain(full, 7)


def test_sections_stand_in_the_order_of_the_questions(full: str) -> None:
    assert [int(number) for number in re.findall(r'<section id="s(\d+)"', full)] == list(range(1, 13))


def test_names_from_a_crm_stay_text(pages: dict[str, str]) -> None:
    for page in pages.values():
        assert "<script>alert" not in page
        assert 'href="javascript:' not in page
    full = pages["report.html"]
    assert (
        "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt; &amp; &#34;quoted&#34; \u202egnp.exe \U0001f680"
        in full
    )
    assert 'href="https://crm.example.com/d1"' in full


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("https://crm.example.com/1", True),
        ("http://crm.example.com/1", True),
        ("javascript:alert(1)", False),
        ("JaVaScRiPt://x/%0aalert(1)", False),
        ("data:text/html,x", False),
        ("//crm.example.com", False),
        ("https://[broken", False),
        ("https://crm.example.com/\nx", False),
        (None, False),
    ],
)
def test_only_addresses_of_the_web_become_links(address: str | None, kept: bool) -> None:
    assert safe_url(address) == (address if kept else None)


def test_every_question_mark_opens_a_definition_that_is_there(pages: dict[str, str]) -> None:
    for page in pages.values():
        asked = set(re.findall(r'popovertarget="([^"]+)"', page))
        assert asked and asked == set(re.findall(r'popover id="([^"]+)"', page))


def test_every_identifier_in_a_page_is_its_own(full: str) -> None:
    found = re.findall(r' id="([^"]+)"', full)
    assert len(found) == len(set(found))


def test_a_page_loads_nothing(pages: dict[str, str]) -> None:
    for page in pages.values():
        assert "default-src 'none'; style-src 'sha256-" in html.unescape(page)
        assert not re.search(r"<(link|img|iframe|object|embed)\b|\bsrc=|@import|url\((?!#)", page)
        assert not re.search(r"<[^>]+\son[a-z]+=", page)


def test_the_board_reads_no_names_of_deals_and_reps(pages: dict[str, str]) -> None:
    board = pages["report-board.html"]
    for name in ("Alpha", "Ann Able", "Zoe", "calc", "crm.example.com"):
        assert name in pages["report.html"]
        assert name not in board


def test_a_team_reads_of_itself_alone(pages: dict[str, str]) -> None:
    north = pages["report-team-north.html"]
    assert "Alpha" in north and "calc" in north
    assert "gnp.exe" not in north
    assert "Sales pipeline of North" in north


def test_files_of_editions_no_longer_asked_for_are_removed(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_file, "render_page", lambda *_: "a page")
    assert len(write(tmp_path, small, "full", "team", "board")) == 4
    assert list(write(tmp_path, small, "board")) == ["report-board.html"]
    assert [file.name for file in tmp_path.iterdir()] == ["report-board.html"]


def test_an_empty_file_gives_a_page_that_says_so(tmp_path: Path) -> None:
    page = write(tmp_path, write_published(tmp_path / "marts.duckdb", {}))["report.html"]
    assert "There is too little data for any sentence." in plain(page, 1)
    for section, words in (
        (2, "no forecast is stored for this day"),
        (3, "Nothing was open in this period."),
        (4, "No deal needs a look today."),
        (5, "no funnel to show"),
        (6, "No stage has enough visits"),
        (8, "No deal was won or lost yet."),
        (9, "No loss is recorded"),
        (10, "too little history for a record"),
    ):
        assert words in plain(page, section)
    assert "<svg" not in page


def test_without_amounts_deals_are_counted(tmp_path: Path) -> None:
    rows = business()
    rows["mart_pipeline_waterfall"] = [
        row | {"start_amount": None, "end_amount": None, "created_amount": None, "lost_amount": None}
        for row in rows["mart_pipeline_waterfall"]
    ]
    page = write(tmp_path, write_published(tmp_path / "marts.duckdb", rows))["report.html"]
    assert (
        "3 deals are open, 2 at the start of the week from 11 May 2026: 2 created, 0 won, 1 lost."
        in plain(page, 1)
    )
    assert "Amounts are not known: see the number of deals." in plain(page, 3)


def test_one_stage_without_forecast_or_quota_is_told_in_words(tmp_path: Path) -> None:
    rows = business()
    only = {name: [row for row in found if row.get("stage") != "Quote"] for name, found in rows.items()}
    for name in ("forecast_bookings", "forecast_bookings_latest"):
        only[name] = []
    only["mart_pipeline_coverage"] = [
        row | {"quota_amount": None} for row in rows["mart_pipeline_coverage"] if row["segment"] == "all"
    ]
    page = write(tmp_path, write_published(tmp_path / "marts.duckdb", only))["report.html"]
    assert "There is no forecast" in plain(page, 2)
    assert "No quota is told" in plain(page, 2)
    assert "expected to end" not in plain(page, 1)


def test_a_page_that_cannot_be_made_leaves_the_earlier_one(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = write(tmp_path, small)["report.html"]

    def fails(*_: object) -> str:
        raise KeyError("median_days")

    monkeypatch.setattr(report_file, "render_page", fails)
    with pytest.raises(ReportNotWritten, match=r"KeyError: 'median_days'.*published file is complete"):
        write(tmp_path, small)
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == before
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_nothing_published_is_said_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(NothingPublished, match="make run"):
        write(tmp_path, tmp_path / "marts.duckdb")


def test_one_edition_or_several_can_be_asked_for() -> None:
    assert Report.model_validate({"pages": "board"}).pages == ("board",)
    assert Report.model_validate({"pages": ["team", "full", "team"]}).pages == ("team", "full")
    assert Report().pages == ("full",)
    with pytest.raises(ValueError, match="full"):
        Report.model_validate({"pages": "everything"})


def test_figures_are_told_as_people_read_them() -> None:
    assert money(1_234, "EUR") == "EUR 1 thousand"
    assert money(-2_345_678, "USD") == "USD -2.35 million"
    assert money(None, "EUR") == "–"
    assert (of_things(1, "deal"), of_things(1200, "deal")) == ("1 deal", "1,200 deals")
    assert (share(0.002), share(0.999), share(0), share(1)) == ("< 1%", "> 99%", "0%", "100%")
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"


def test_only_the_first_choice_is_shown_at_first(full: str) -> None:
    parts = re.findall(r'<div class="part[^"]*"([^>]*)>', full)
    for part in parts:
        chosen = dict(re.findall(r'data-when-(\w+)="([^"]*)"', part))
        first = {"slice": "all", "compare": "week", "measure": "amount", "deals": "today", "members": "owner"}
        assert ("hidden" in part) == any(first[key] != value for key, value in chosen.items())


def test_the_hostile_rows_are_in_the_file_at_all() -> None:
    names = [row["deal_name"] for row in business()["mart_deal_health"]]
    assert HOSTILE in names and FORMULA in names and TOTAL["segment"] == "all"


def test_alerts_stand_in_the_head_the_new_and_the_grave_ones_first(tmp_path: Path) -> None:
    day = date(2026, 5, 15)
    rows = business() | {
        "alerts": [
            _alert(day, "a", "warning", "South is behind.", date(2026, 5, 12), False),
            _alert(day, "b", "info", "Offer <b>slows</b>.", day, True),
            _alert(day, "c", "critical", "The night failed.", day, True),
            _alert(date(2026, 5, 14), "d", "critical", "Yesterday's.", date(2026, 5, 14), True),
        ]
    }
    file = write_published(tmp_path / "marts.duckdb", rows)
    pages = write(tmp_path, file, "full", "team", "board")
    for name in ("report.html", "report-board.html"):
        head = " ".join(re.sub(r"<[^>]+>", " ", pages[name].split('<section id="s1"')[0]).split())
        told = ["3 alerts, 2 of them new.", "The night failed.", "Offer &lt;b&gt;slows&lt;/b&gt;."]
        places = [head.index(text) for text in [*told, "since 12 May 2026", "South is behind."]]
        assert places == sorted(places)
        assert "Yesterday" not in head
    assert all("The night failed." not in page for name, page in pages.items() if "team" in name)


def _alert(day: date, key: str, severity: str, sentence: str, since: date, is_new: bool) -> dict[str, object]:
    return {
        "as_of": day,
        "alert_id": key,
        "kind": "run_failed",
        "severity": severity,
        "subject": key,
        "sentence": sentence,
        "first_seen_on": since,
        "is_new": is_new,
        "run_id": "r",
    }


def test_amounts_without_a_history_are_not_told_as_growth(tmp_path: Path) -> None:
    readiness = {
        "source_relation": "crm",
        "mart": "mart_pipeline_waterfall",
        "metric": "amounts of the waterfall",
        "status": "unavailable",
        "reason_text": "None of the 3 amounts have a history: read the waterfall in deals.",
    }
    file = write_published(tmp_path / "marts.duckdb", business() | {"mart_data_readiness": [readiness]})
    page = write(tmp_path, file)["report.html"]
    said = plain(page, 1)
    assert "grew by" not in said and "was created" not in said
    assert "3 deals are open, 2 at the start of the week" in said
    assert "EUR 150 thousand" in page.split('<section id="s1"')[0]  # what is open today has amounts
    assert "more than the" not in page.split('<section id="s1"')[0]
    assert "Amounts are not known: see the number of deals." in plain(page, 3)


def test_few_past_ranges_are_no_record(tmp_path: Path) -> None:
    rows = business()
    few = [row | {"interval_coverage_origins": 4} for row in rows["forecast_bookings"]]
    file = write_published(tmp_path / "marts.duckdb", rows | {"forecast_bookings_latest": few})
    said = plain(write(tmp_path, file)["report.html"], 1)
    assert "too few past ranges to say how often they hold" in said
    assert "held in the past" not in said


def test_the_time_before_a_stage_was_noted_is_no_stage_that_loses(tmp_path: Path) -> None:
    known = {
        "segment_type": "total",
        "segment": "all",
        "pipeline": "Sales",
        "stage": "Offer",
        "measure": "conversion",
        "status": "within_noise",
        "deals_at_stake": 2,
        "at_stake_amount": 1_000,
    }
    unknown = known | {"stage": "(open, stage not recorded)", "deals_at_stake": 9, "at_stake_amount": 9_000}
    file = write_published(tmp_path / "marts.duckdb", business() | {"mart_bottlenecks": [known, unknown]})
    said = plain(write(tmp_path, file)["report.html"], 1)
    assert "The most is lost from Offer (Sales): 2 deals, worth EUR 1 thousand" in said
