"""What pipeline.yaml may say, and what a wrong one prints."""

from datetime import date
from pathlib import Path

import pytest

from dagster_project.settings import ConfigError, Settings, load_settings

GOOD = """\
business:
  name: Example Ltd
  time_zone: Europe/Amsterdam
  currency: EUR
sources:
  - name: export
    type: files
    deals:
      path: exports/deals*.csv
      columns: {deal_id: ID, stage: Stage, amount: Amount, currency: {value: EUR}}
    stage_entered: {Meeting: met on}
    stages:
      - {name: Meeting, order: 1}
      - {name: No, outcome: lost}
"""


def load(tmp_path: Path, text: str = GOOD, **environ: str) -> Settings:
    config = tmp_path / "pipeline.yaml"
    config.write_text(text, encoding="utf-8")
    return load_settings(config, tmp_path / "data", environ)


def problems(tmp_path: Path, text: str, **environ: str) -> list[tuple[int, str]]:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, **environ)
    return [(problem.line, f"{problem.key}: {problem.message}") for problem in caught.value.problems]


def test_paths_lie_beside_the_configuration_and_under_the_data_folder(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert settings.sources[0].deals.path == str(tmp_path / "exports/deals*.csv")
    assert settings.paths.published_file == tmp_path / "data/published/marts.duckdb"


def test_a_column_is_a_header_or_a_constant(tmp_path: Path) -> None:
    columns = load(tmp_path).sources[0].deals.columns
    assert (columns["amount"].header, columns["amount"].value) == ("Amount", None)
    assert (columns["currency"].header, columns["currency"].value) == (None, "EUR")


def test_names_keep_their_text_where_yaml_would_see_a_truth_value(tmp_path: Path) -> None:
    assert [line.name for line in load(tmp_path).sources[0].stage_lines()] == ["Meeting", "No"]


def test_what_is_left_out_has_the_documented_default(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert settings.business.as_of == "latest"
    assert (settings.business.fiscal_year_start_month, settings.business.week_start_number) == (1, 1)
    assert (settings.metrics.min_sample, settings.metrics.dates.won) == (20, "close_date")
    assert settings.metrics.definition_version == "default"


def test_a_changed_definition_has_a_version_of_its_own(tmp_path: Path) -> None:
    same = load(tmp_path, GOOD + "metrics: {min_sample: 20}\n").metrics
    other = load(tmp_path, GOOD + "metrics: {cycle: {from: stage}}\n").metrics
    assert same.definition_version == "default"
    assert other.changes() == {"cycle": {"from": "stage"}}
    assert other.definition_version != "default"


@pytest.mark.parametrize(
    "setting",
    [
        "win_rate: {population: from_stage}",
        "win_rate: {no_decision: excluded}",
        "win_rate: {disqualified: loss}",
        "win_rate: {stale_open_as_lost_after_days: 180}",
        "cycle: {statistic: mean}",
        "cycle: {statistic: median}",
        "coverage: {exclude_dead: true}",
    ],
)
def test_each_choice_inside_a_definition_makes_a_version_of_its_own(tmp_path: Path, setting: str) -> None:
    stage = "metrics:\n  qualified_stage: Meeting\n"
    before, after = (load(tmp_path, GOOD + stage + line).metrics for line in ("", f"  {setting}\n"))
    assert after.definition_version not in (before.definition_version, "default")


def test_no_open_deal_counts_as_lost_unless_days_are_named(tmp_path: Path) -> None:
    days = [
        load(tmp_path, f"{GOOD}metrics: {{win_rate: {{stale_open_as_lost_after_days: {text}}}}}\n")
        for text in ("off", "180")
    ]
    assert [settings.metrics.win_rate.stale_days for settings in days] == [None, 180]
    assert [settings.metrics.definition_version == "default" for settings in days] == [True, False]


def test_the_environment_names_the_files_and_the_day(tmp_path: Path) -> None:
    (tmp_path / "pipeline.yaml").write_text(GOOD)
    environ = {
        "STAGELEDGER_CONFIG": str(tmp_path / "pipeline.yaml"),
        "STAGELEDGER_DATA": str(tmp_path / "elsewhere"),
        "STAGELEDGER_AS_OF": "2026-03-31",
    }
    settings = load_settings(environ=environ)
    assert settings.paths.root == tmp_path / "elsewhere"
    assert (settings.business.as_of, settings.as_of_is_manual) == (date(2026, 3, 31), True)


def test_a_day_in_the_file_is_no_manual_run(tmp_path: Path) -> None:
    settings = load(tmp_path, GOOD.replace("currency: EUR\n", "currency: EUR\n  as_of: 2026-03-31\n", 1))
    assert (settings.business.as_of, settings.as_of_is_manual) == (date(2026, 3, 31), False)


def test_a_manual_day_that_is_no_date_is_refused(tmp_path: Path) -> None:
    assert "AS_OF=2026-03-31" in problems(tmp_path, GOOD, STAGELEDGER_AS_OF="31 March")[0][1]


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("  currency: EUR\n", "  currency: EUR\n  colour: red\n", 5, "unknown key 'colour'"),
        ("time_zone:", "timezone:", 3, "did you mean 'time_zone'"),
        ("Europe/Amsterdam", "Europe/Amsterdm", 3, "did you mean 'Europe/Amsterdam'"),
        ("currency: EUR\n", "currency: euro\n", 4, "three capital letters"),
        ("amount: Amount", "amout: Amount", 10, "did you mean 'amount'"),
        ("{deal_id: ID, stage: Stage,", "{deal_id: ID,", 10, "deals need the field 'stage'"),
        ("stage: Stage,", "stage: [Stage],", 10, "block of `key: value`"),
        (
            "currency: {value: EUR}",
            "currency: {value: EUR, header: C}",
            10,
            "name of a column, or {value: X}",
        ),
        ("type: files", "type: fils", 7, "allowed: files"),
        ("type: files\n", "type: files\n    token: abc\n", 8, "${SOURCES_TOKEN}"),
        ("name: export", "name: business", 6, "cannot name a source"),
        ("{Meeting: met on}", "{Meetin: met on}", 11, "did you mean 'Meeting'"),
        ("{name: Meeting, order: 1}", "{name: Meeting}", 13, "needs `order:`"),
        ("{name: Meeting, order: 1}", "{name: Meeting, order: first}", 13, "no whole number"),
        ("{name: No, outcome: lost}", "{name: No, outcome: loss}", 14, "did you mean 'lost'"),
        ("{name: No, outcome: lost}", "{name: Meeting, outcome: lost}", 14, "already listed in line 13"),
        ("  name: Example Ltd\n", "  name: A\n  name: B\n", 3, "given twice (first in line 2)"),
        ("business:\n", "sources_: 1\nbusiness:\n", 1, "did you mean 'sources'"),
    ],
)
def test_an_error_names_line_fault_and_remedy(
    tmp_path: Path, old: str, new: str, line: int, words: str
) -> None:
    assert old in GOOD
    found = problems(tmp_path, GOOD.replace(old, new, 1))
    assert any(at == line and words in text for at, text in found), found


@pytest.mark.parametrize(
    ("block", "line", "words"),
    [
        ("metrics: {min_sampl: 3}", 15, "did you mean 'min_sample'"),
        ("metrics: {pace: {slow: 1.5}}", 15, "at most 1"),
        ("metrics: {pace: {slow: 0.96}}", 15, "slow 0.96, stalled 0.95, dead 0.995: each must be above"),
        ("metrics: {activity_days: 0}", 15, "at least 1"),
        ("metrics:\n  dates: {won: closedate}", 16, "did you mean 'close_date'"),
        ("metrics:\n  estimate_open_amounts_from_list_price: maybe", 16, "true or false"),
        ("metrics: {amount_measure: acv}", 15, "did you mean"),
        ("metrics: {amount_measure: Arr}", 6, "name its column under `deals: columns`: `arr: Header`"),
        ("metrics: {segments: {region_from: acount}}", 15, "did you mean 'account'"),
        ("metrics: {exclude: {owner: [u1]}}", 15, "did you mean 'owners'"),
        ("metrics: {exclude: {owners: u1}}", 15, "must be a list"),
        ("metrics:\n  exclude:\n    pipelines:\n      - ''", 18, "the name is empty; write a name or an id"),
        ("metrics: {coverage: {scope: qualified}}", 15, "needs metrics.qualified_stage"),
        ("metrics: {win_rate: {population: from_stage}}", 15, "qualified_stage, the stage a deal must"),
        ("metrics:\n  win_rate: {no_decision: exclude}", 16, "did you mean 'excluded'"),
        ("metrics:\n  win_rate:\n    disqualified: lost", 17, "did you mean 'loss'"),
        ("metrics: {win_rate: {stale_open_as_lost_after_days: 0}}", 15, "a whole number of days such as 180"),
        ("metrics: {win_rate: {stale_open_as_lost_after_days: on}}", 15, "write off, or a whole number"),
        ("metrics: {cycle: {statistic: average}}", 15, "allowed: median, mean"),
        ("tables: {quota: q.csv}", 15, "did you mean 'quotas'"),
        ("tables: {quotas: {path: q.csv, columns: {period: P}}}", 15, "need the field 'amount'"),
        ("alerts: {webhook: https://x.example/secret}", 15, "${ALERTS_WEBHOOK}"),
        ("alerts:\n  webhook: ${ALERT_WEBHOOK}", 16, "ALERT_WEBHOOK is not set"),
        ("publish: {postgres: '${URL}'}", 15, "URL is not set"),
        ("publish: {parquet: perhaps}", 15, "parquet"),
        ("memory_limit: lots", 15, "800MB"),
        ("engine: spark", 15, "duckdb"),
        ("paths: {root: x}", 15, "not set in the file"),
    ],
)
def test_an_error_in_a_later_block_names_its_line(tmp_path: Path, block: str, line: int, words: str) -> None:
    found = problems(tmp_path, GOOD + block + "\n")
    assert any(at == line and words in text for at, text in found), found


def test_all_problems_are_reported_together_and_once(tmp_path: Path) -> None:
    text = GOOD.replace("currency: EUR\n", "currency: euro\n", 1).replace("order: 1", "order: x")
    assert [line for line, _ in problems(tmp_path, text + "colour: red\n")] == [4, 13, 15]


def test_the_text_of_an_error_begins_with_file_and_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, GOOD.replace("currency: EUR\n", "currency: euro\n", 1))
    assert str(caught.value).startswith(f"{tmp_path / 'pipeline.yaml'}:4: business.currency: 'euro'")


def test_a_secret_is_never_repeated(tmp_path: Path) -> None:
    text = GOOD + "alerts: {webhook: https://hooks.example/canary}\n"
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert "canary" not in str(caught.value)
    good = load(tmp_path, GOOD + "alerts: {webhook: '${HOOK}'}\n", HOOK="https://hooks.example/canary")
    assert good.alerts.webhook is not None
    assert good.alerts.webhook.get_secret_value().endswith("canary")
    assert "canary" not in repr(good) + good.model_dump_json()


def test_a_missing_file_and_broken_yaml_are_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file; name one with CONFIG=path"):
        load_settings(tmp_path / "none.yaml", tmp_path, {})
    assert problems(tmp_path, "business:\n  name: [a\nsources: x\n")[0][1].startswith(": is not valid YAML")
    assert "empty" in problems(tmp_path, "\n")[0][1]
    assert "mapping" in problems(tmp_path, "- a\n")[0][1]


def test_two_sources_need_two_names(tmp_path: Path) -> None:
    second = "  - {name: export, type: files, deals: {path: d.csv, columns: {deal_id: a, stage: b}}}\n"
    assert problems(tmp_path, GOOD + second) == [
        (15, "sources[1].name: 'export' is already the name of the source in line 6")
    ]


def test_the_facts_of_tables_are_one_more_source(tmp_path: Path) -> None:
    settings = load(tmp_path, GOOD + "tables: {quotas: q.csv}\n")
    assert [source.name for source in settings.file_sources()] == ["export", "business"]
    assert settings.facts.files()["quotas"].path == str(tmp_path / "q.csv")


TWO_PIPELINES = GOOD.replace(
    "      - {name: Meeting, order: 1}\n",
    "      - {name: Meeting, id: m1, pipeline: New, order: 1}\n"
    "      - {name: Meeting, id: m2, pipeline: Renewal, order: 1}\n",
)


def test_a_date_column_of_a_stage_that_two_pipelines_have_must_say_which(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, TWO_PIPELINES)
    assert found[1].endswith(
        "'Meeting' is a stage of several pipelines (m1, m2); write the `id` of the one that is meant, "
        "or map `pipeline` under `deals: columns`"
    )
    assert load(tmp_path, TWO_PIPELINES.replace("{Meeting: met on}", "{m2: met on}"))
    assert load(tmp_path, TWO_PIPELINES.replace("stage: Stage,", "stage: Stage, pipeline: Funnel,"))


def test_own_words_for_the_status_name_an_outcome(tmp_path: Path) -> None:
    text = GOOD + "    statuses: {Gewonnen: won}\n"
    assert load(tmp_path, text).sources[0].statuses == {"Gewonnen": "won"}
    (found,) = problems(tmp_path, text.replace(": won}", ": gained}"))
    assert found[1].endswith("'gained' is not allowed; allowed: open, won, lost, closed_other")


@pytest.mark.parametrize(
    ("limit", "share"), [("1GB", "0.4GB"), ("1.5 GiB", "0.6GiB"), ("500MB", "200MB"), ("800 MiB", "320MiB")]
)
def test_a_step_gets_its_share_of_the_memory_in_the_same_unit(tmp_path: Path, limit: str, share: str) -> None:
    settings = load(tmp_path, GOOD + f"memory_limit: {limit}\n")
    assert settings.memory_share(0.4) == share


def test_what_is_left_out_of_the_metrics_may_be_named_by_a_number(tmp_path: Path) -> None:
    exclude = load(tmp_path, GOOD + "metrics: {exclude: {pipelines: [7, ' Partner ']}}\n").metrics.exclude
    assert exclude.pipelines == ("7", "Partner")


CRMS = """\
business: {name: Example Ltd, time_zone: UTC, currency: EUR}
metrics: {amount_measure: MEASURE}
sources:
  - {name: hub, type: hubspot, token: '${TOKEN}'}
  - {name: pipe, type: pipedrive, token: '${TOKEN}', fields: {amount: Fee, tcv: Total}}
  - {name: org, type: salesforce, base_url: https://x.my.salesforce.com, client_id: '${TOKEN}',
     client_secret: '${TOKEN}', fields: {arr: ARR__c, tcv: TCV__c}}
"""


@pytest.mark.parametrize(
    ("measure", "feeds"),
    [
        ("amount", [None, "Fee", None]),
        ("ARR", ["hs_arr", "arr", "ARR__c"]),
        ("tcv", ["hs_tcv", "Total", "TCV__c"]),
    ],
)
def test_the_measure_chooses_the_property_that_feeds_the_amount(
    tmp_path: Path, measure: str, feeds: list[str | None]
) -> None:
    settings = load(tmp_path, CRMS.replace("MEASURE", measure), TOKEN="abc")
    for source, feed in zip(settings.api_sources(), feeds, strict=True):
        assert source.fields.get("amount") == feed
        assert feed is None or feed in source.asked["deals"]


def test_a_crm_without_the_measure_is_told_how_to_name_it(tmp_path: Path) -> None:
    text = CRMS.replace("MEASURE", "tcv").replace(", tcv: Total", "").replace(", tcv: TCV__c", "")
    found = problems(tmp_path, text, TOKEN="abc")
    assert [line for line, _ in found] == [5, 6]
    assert all("name the property that holds it: `fields: {tcv: …}`" in words for _, words in found)


def test_a_list_price_stands_in_for_no_other_measure(tmp_path: Path) -> None:
    text = GOOD.replace("amount: Amount", "amount: Amount, arr: ARR")
    block = "metrics: {amount_measure: arr, estimate_open_amounts_from_list_price: true}\n"
    ((line, words),) = problems(tmp_path, text + block)
    assert (line, "a list price is no ARR" in words) == (15, True)


def test_the_challenger_is_off_unless_it_is_switched_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagster_project.output_settings.find_spec", lambda name: object())
    assert load(tmp_path, GOOD).forecast.challenger is False
    assert load(tmp_path, GOOD + "forecast: {challenger: on}\n").forecast.challenger is True


def test_a_challenger_without_its_package_says_what_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagster_project.output_settings.find_spec", lambda name: None)
    assert load(tmp_path, GOOD + "forecast: {challenger: off}\n").forecast.challenger is False
    ((line, words),) = problems(tmp_path, GOOD + "forecast: {challenger: on}\n")
    assert line == len(GOOD.splitlines()) + 1
    assert "scikit-learn, which is not installed; run `make ml`, or write off" in words


HASHED = GOOD.replace("currency: EUR\n", "currency: EUR\n  hash_owner_emails: ${EMAIL_KEY}\n", 1)


@pytest.mark.parametrize(
    ("text", "environ", "words"),
    [
        (HASHED, {}, "EMAIL_KEY is not set"),
        (HASHED, {"EMAIL_KEY": ""}, "EMAIL_KEY is not set"),
        (HASHED, {"EMAIL_KEY": "  canary, 15 chars "[:17]}, "fewer than 16 characters"),
        (HASHED.replace("${EMAIL_KEY}", "a canary in the file"), {}, "${BUSINESS_HASH_OWNER_EMAILS}"),
    ],
)
def test_a_key_for_addresses_is_no_literal_and_not_short(
    tmp_path: Path, text: str, environ: dict[str, str], words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, **environ)
    assert words in str(caught.value) and "pipeline.yaml:5: business.hash_owner_emails" in str(caught.value)
    assert "canary" not in str(caught.value)


def test_owners_left_out_by_address_are_named_as_they_are_landed_and_the_key_is_told_nowhere(
    tmp_path: Path,
) -> None:
    text = HASHED + "metrics: {exclude: {owners: [Ann@Example.com, Tom]}}\n"
    good = load(tmp_path, text, EMAIL_KEY="a canary of 18 chars")
    emails = good.owner_emails()
    assert emails is not None
    assert good.metrics.exclude.owners == (emails.text("ann@example.com"), "Tom")
    assert "canary" not in repr(good) + good.model_dump_json()
    assert load(tmp_path, GOOD).owner_emails() is None
