"""The metric book tells every definition once, and no text of it becomes markup."""

from dagster_project.transform.metric_book import metric_book

ROW = {
    "name": "win_rate",
    "table_name": "mart_a",
    "column_name": "win_rate",
    "definition": "Won <b>& lost</b>",
    "formula": "won / (won + lost)",
    "unit": "share",
    "caveats": "Counts, never amounts.",
    "settings_in_force": None,
    "beside": "win_denominator, win_numerator",
    "metric_scope": None,
    "definition_version": "default",
}


def test_a_metric_of_two_tables_has_one_heading_and_both_columns() -> None:
    page = metric_book([ROW, {**ROW, "table_name": "mart_b"}], "Example & Co")
    assert page.count('<h2 id="win_rate">win rate</h2>') == 1
    assert page.count('href="#win_rate"') == 1
    assert "<code>mart_a.win_rate</code>" in page and "<code>mart_b.win_rate</code>" in page
    assert page.count("<dt>Counts beside it</dt><dd>win_denominator, win_numerator</dd>") == 2
    assert "Settings in force" not in page


def test_texts_of_the_business_are_escaped() -> None:
    page = metric_book([ROW], "Example & Co")
    assert "Won &lt;b&gt;&amp; lost&lt;/b&gt;" in page and "Metric book: Example &amp; Co" in page
