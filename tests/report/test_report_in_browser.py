"""The page in a real browser: drawn, quiet, offline, sorted, filtered, legible, printable."""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from dagster_project.report.report_file import write_report
from tests.report.chromium import Browser, find_chromium, open_browser
from tests.report.small_published import business, write_published

PROGRAM = find_chromium()
pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="no chromium on this machine: apt-get install chromium"
)

CONTRAST = """
(() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const linear = (v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => [r, g, b].map((v) => linear(v / 255))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const colour = getComputedStyle(node).backgroundColor;
      const [, , , alpha = 1] = channels(colour);
      if (alpha > 0.99) return channels(colour);
    }
    return [255, 255, 255];
  };
  const low = [];
  const texts = "p, a, th, td, dt, dd, span, button, select, summary, h1, h2, h3, li, caption, svg text";
  for (const node of document.querySelectorAll(texts)) {
    if (!node.checkVisibility() || !node.textContent.trim()) continue;
    const style = getComputedStyle(node);
    const ink = node.closest("svg") && style.fill !== "none" ? style.fill : style.color;
    const [a, b] = [light(channels(ink)), light(ground(node))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) low.push(`${node.tagName} ${ratio.toFixed(2)} ${node.textContent.trim().slice(0, 30)}`);
  }
  return low;
})()
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("page")
    file = write_published(folder / "marts.duckdb", business())
    report = write_report(file, folder, "Small & Co", "EUR")
    return report.pages[0].path.as_uri()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_browser(str(PROGRAM), Path(tmp_path_factory.mktemp("profile"))) as opened:
        yield opened


@pytest.fixture
def page(browser: Browser, address: str) -> Browser:
    browser.screen(1280, 900)
    browser.open(address)
    return browser


def test_the_page_asks_for_nothing_and_its_console_is_silent(page: Browser, address: str) -> None:
    assert page.requests == [address]
    assert page.problems == []


def test_every_visible_chart_is_drawn_with_words(page: Browser) -> None:
    charts = page.run(
        "[...document.querySelectorAll('figure svg')].filter((s) => s.checkVisibility()).map((s) => {"
        "const b = s.getBoundingClientRect();"
        "return [b.width, b.height, s.querySelectorAll('path,line').length,"
        "s.querySelector('title').textContent.length, s.querySelector('desc').textContent.length]})"
    )
    assert len(charts) >= 7
    assert all(min(measure) > 5 for measure in charts)


def deal_names(page: Browser) -> list[str]:
    return page.run(
        "[...document.querySelectorAll('table[data-name=deals-today]')].find((t) => t.checkVisibility())"
        ".querySelectorAll('tbody tr td:nth-child(2)').values().map((c) => c.textContent).toArray()"
    )


def test_a_table_is_sorted_by_click_and_by_key(page: Browser) -> None:
    head = (
        "[...document.querySelectorAll('table[data-name=deals-today]')].find((t) => t.checkVisibility())"
        ".querySelectorAll('th')[1]"
    )
    assert deal_names(page) == ["100,000", "50,000"]
    page.run(f"{head}.querySelector('.sort').click()")
    assert (deal_names(page), page.run(f"{head}.getAttribute('aria-sort')")) == (
        ["100,000", "50,000"],
        "descending",
    )
    page.run(f"{head}.querySelector('.sort').focus()")
    page.press("Enter", 13, "\r")
    assert (deal_names(page), page.run(f"{head}.getAttribute('aria-sort')")) == (
        ["50,000", "100,000"],
        "ascending",
    )


def test_the_choice_is_kept_in_the_address(page: Browser, address: str) -> None:
    page.run(
        "(() => { const s = document.querySelector('select[data-choice=slice]'); s.value = 'team:North';"
        "s.dispatchEvent(new Event('change')); })()"
    )
    page.run("document.querySelector('button[data-choice=measure][value=deals]').click()")
    assert page.run("location.hash") == "#slice=team%3ANorth&measure=deals"
    assert deal_names(page) == ["100,000"]
    page.open(address + "#slice=team%3ANorth&measure=deals")
    assert page.run("document.querySelector('select[data-choice=slice]').value") == "team:North"
    assert deal_names(page) == ["100,000"]
    page.open(address + "#slice=nobody")
    assert page.run("document.querySelector('select[data-choice=slice]').value") == "all"


def test_a_csv_has_no_formulas_and_keeps_numbers(page: Browser) -> None:
    text = page.run("stageledgerCsv([...document.querySelectorAll('table[data-name=deals-dead]')][0])")
    assert '"\'=cmd|""/c calc""!A1",1000.000,' in text
    assert text.startswith("Deal,Amount (EUR),")


def test_a_definition_is_one_click_away_and_closes_by_key(page: Browser) -> None:
    page.run("document.querySelector('main .def').click()")
    assert page.run("document.querySelectorAll(':popover-open').length") == 1
    page.press("Escape", 27)
    assert page.run("document.querySelectorAll(':popover-open').length") == 0


def test_headings_are_in_order_and_controls_have_names(page: Browser) -> None:
    levels = page.run(
        "[...document.querySelectorAll('h1,h2,h3')].filter((h) => h.checkVisibility())"
        ".map((h) => Number(h.tagName[1]))"
    )
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    unnamed = page.run(
        "[...document.querySelectorAll('button, select, a, summary')].filter((c) => !(c.textContent.trim() ||"
        "c.getAttribute('aria-label') || c.labels?.length)).length"
    )
    assert unnamed == 0
    assert page.run("[...document.querySelectorAll('table')].every((t) => t.caption.textContent.trim())")


@pytest.mark.parametrize("is_dark", [False, True])
def test_text_stands_out_from_its_ground(browser: Browser, address: str, is_dark: bool) -> None:
    browser.screen(1280, 900, 1, is_dark)
    browser.open(address)
    assert browser.run(CONTRAST) == []


def test_a_phone_needs_no_scrolling_sideways(browser: Browser, address: str) -> None:
    browser.screen(360, 740)
    browser.open(address)
    browser.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert browser.run("document.documentElement.scrollWidth") == 360
    assert browser.run("getComputedStyle(document.querySelector('tbody tr')).display") == "block"
    labels = browser.run(
        "[...document.querySelectorAll('table[data-name=deals-today] td')].map((c) => c.dataset.label)[1]"
    )
    assert labels == "Amount (EUR)"


def test_paper_shows_all_and_cuts_nothing(page: Browser) -> None:
    folded = page.run("document.querySelectorAll('details:not([open])').length")
    page.media("print")
    page.run("new Promise((done) => setTimeout(done, 100))")
    opened = page.run("[...document.querySelectorAll('main details[open]')].map((d) => d.checkVisibility())")
    assert folded > 3 and len(opened) > 3 and all(opened)
    hidden = (
        "[...document.querySelectorAll('main details:not([open])')].filter((d) => d.checkVisibility())"
        ".filter((d) => ![...document.querySelectorAll('table')].some((t) => t.checkVisibility() &&"
        " t.textContent === d.querySelector('table').textContent)).length"
    )
    assert page.run(hidden) == 0
    cut = page.run(
        "[...document.querySelectorAll('main *')].filter((e) => e.checkVisibility() && !e.closest('svg') &&"
        "e.getBoundingClientRect().right > document.documentElement.clientWidth + 1).length"
    )
    assert cut == 0
    page.media("screen")
    page.run("new Promise((done) => setTimeout(done, 100))")
    assert page.run("document.querySelectorAll('details:not([open])').length") == folded


def test_paper_tears_no_chart_and_no_row_and_prints_no_table_twice(page: Browser) -> None:
    page.media("print")
    page.run("new Promise((done) => setTimeout(done, 100))")
    tables = "[...document.querySelectorAll('main table')].filter((t) => t.checkVisibility())"
    texts = page.run(f"{tables}.map((t) => t.textContent)")
    assert len(texts) == len(set(texts)) > 5
    rules = page.run(
        "['figure svg', 'tbody tr'].map((q) => getComputedStyle(document.querySelector(q)).breakInside)"
        ".concat(['h2', '.question', 'figcaption', 'caption'].map((q) =>"
        " getComputedStyle(document.querySelector('main ' + q)).breakAfter))"
    )
    assert rules == ["avoid"] * 6
    page.media("screen")


def test_the_keyboard_reaches_every_control_and_shows_where_it_is(page: Browser) -> None:
    seen = []
    for _ in range(8):
        page.press("Tab", 9)
        seen.append(
            page.run(
                "(() => { const e = document.activeElement, s = getComputedStyle(e);"
                "return [e.tagName, s.outlineStyle, parseFloat(s.outlineWidth)] })()"
            )
        )
    assert seen[0][0] == "A" and {"SELECT", "SUMMARY"} <= {name for name, *_ in seen}
    assert all(style == "solid" and width >= 2 for _, style, width in seen)


def test_what_is_printed_reaches_the_last_section(page: Browser) -> None:
    # Headings of the outline are those that stand on a page: what is cut off has none.
    titles = re.findall(rb"/Title \((\d+) ", page.paper())
    assert [int(number) for number in titles] == list(range(1, 13))
    page.media("screen")
    assert page.run("document.querySelectorAll('main details[open]').length") == 0
