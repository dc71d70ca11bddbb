"""How a file is written, and what its columns hold, is found out without being told."""

from pathlib import Path

import pandas as pd
import pytest

from dagster_project.contract import HISTORY_FIELDS
from dagster_project.extract.connect.columns import CONTRACTS
from dagster_project.extract.connect.joins import find_aliases, find_joins
from dagster_project.extract.connect.profile import decimal_of, order_of, profile_file
from dagster_project.extract.connect.stage_facts import StageFacts
from dagster_project.extract.connect.stage_order import stage_places
from dagster_project.extract.connect.stages import stage_columns
from dagster_project.extract.connect.vocabulary import (
    likeness,
    outcome_by_name,
    vendor_exports,
    vocabulary,
    words,
)

GERMAN = "Kunde;Betrag;Datum\r\nMüller;1.234,56 €;31.12.2025\r\nBöhm;7,50 €;01.02.2026\r\n"


@pytest.mark.parametrize(
    ("bytes_", "encoding"),
    [
        (GERMAN.encode("cp1252"), "cp1252"),
        (GERMAN.encode("utf-8"), "utf-8"),
        (GERMAN.encode("utf-8-sig"), "utf-8"),
        (GERMAN.encode("utf-16"), "utf-16"),
    ],
    ids=["cp1252", "utf-8", "utf-8 with mark", "utf-16"],
)
def test_encoding_delimiter_decimal_comma_and_day_first_are_found(
    tmp_path: Path, bytes_: bytes, encoding: str
) -> None:
    path = tmp_path / "k.csv"
    path.write_bytes(bytes_)
    (found,) = profile_file(path)
    assert (found.encoding, found.delimiter, found.decimal, found.date_order) == (encoding, ";", ",", "dmy")
    assert found.currency == "EUR"
    assert list(found.column("Betrag").numbers) == [1234.56, 7.5]
    assert [str(day) for day in found.column("Datum").span or ()] == ["2025-12-31", "2026-02-01"]
    assert found.column("Kunde").samples == ("Müller", "Böhm")


@pytest.mark.parametrize(
    ("values", "mark"),
    [
        (["1234", "5.25"], None),
        (["1,234", "5,678"], "unknown"),
        (["1,234", "5.25"], "."),
        (["1.234,5"], ","),
        (["12,50"], ","),
        (["1,234,567"], "."),
    ],
)
def test_a_decimal_mark_is_told_or_unknown_and_never_guessed(values: list[str], mark: str | None) -> None:
    assert decimal_of(values) == mark


@pytest.mark.parametrize(
    ("values", "order"),
    [
        (["2026-01-02"], "ymd"),
        (["01/02/2026"], "unknown"),
        (["01/02/2026", "13/02/2026"], "dmy"),
        (["01/02/2026", "02/13/2026"], "mdy"),
        (["13/02/2026", "02/13/2026"], "unknown"),
    ],
)
def test_the_order_of_a_date_is_told_or_unknown_and_never_guessed(values: list[str], order: str) -> None:
    assert order_of(values) == order


def test_an_afternoon_is_twelve_hours_after_its_morning(tmp_path: Path) -> None:
    path = tmp_path / "k.csv"
    path.write_text("at\n1/31/2026, 9:05 AM\n1/31/2026, 9:05 PM\n1/31/2026, 12:01 AM\n".replace(",", ""))
    column = profile_file(path)[0].column("at")
    assert column.kind == "instant"
    assert [str(day)[11:16] for day in column.days] == ["09:05", "21:05", "00:01"]


def test_a_code_with_digits_is_a_name_and_no_amount_of_money(tmp_path: Path) -> None:
    path = tmp_path / "k.csv"
    path.write_text("code,price\nPLT-100,USD 5\nANA-200,USD 7\n")
    (found,) = profile_file(path)
    assert [column.kind for column in found.columns] == ["text", "number"]
    assert found.currency == "USD"


def test_one_file_names_another_by_its_unique_column(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("id,who\n1,Ann\n2,Bob\n3,Ann\n4,Cyd\n")
    (tmp_path / "o.csv").write_text("person,team\nAnn,x\nBob,x\nDan,y\n")
    (join,) = find_joins([*profile_file(tmp_path / "d.csv"), *profile_file(tmp_path / "o.csv")])
    assert (join.column.header, join.key.header) == ("who", "person")
    assert join.share == pytest.approx(2 / 3)


def test_names_that_differ_in_marks_are_sure_aliases_and_in_letters_unsure_ones(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("product\nAlphaOne\nAlpha Twoo\nBeta 2\nOther\n")
    (tmp_path / "p.csv").write_text("name\nAlpha One\nAlpha Two\nBeta 1\n")
    deals, products = (profile_file(tmp_path / name)[0] for name in ("d.csv", "p.csv"))
    found = find_aliases(deals.column("product"), products.column("name"))
    assert [(alias.alias, alias.name, alias.is_sure) for alias in found] == [
        ("Alpha Twoo", "Alpha Two", False),
        ("AlphaOne", "Alpha One", True),
    ]


def test_an_entry_column_names_its_stage_with_or_without_the_pipeline() -> None:
    headers = [
        'Date entered "Offer (Sales)"',
        "Date entered Closed Won",
        "Entered: Lead",
        'Date entered "Passed by (Sales)"',
        "Date entered current stage",
        "Create Date",
    ]
    assert stage_columns(headers, ["Offer", "Closed Won", "Lead"], ["Sales"]) == {
        "Offer": ['Date entered "Offer (Sales)"'],
        "Closed Won": ["Date entered Closed Won"],
        "Lead": ["Entered: Lead"],
        "Passed by": ['Date entered "Passed by (Sales)"'],
    }


@pytest.mark.parametrize(
    ("stage", "outcome"),
    [
        ("Closed Won", "won"),
        ("6 - Closed/Lost", "lost"),
        ("Wonderful", None),
        ("Disqualified", "closed_other"),
    ],
)
def test_a_stage_tells_its_outcome_by_a_word_and_not_by_letters(stage: str, outcome: str | None) -> None:
    assert outcome_by_name(stage) == outcome


def test_a_header_is_compared_without_case_marks_and_humps() -> None:
    assert words("Deal - dealStage_Name") == "deal deal stage name"
    assert likeness("Close Date", ("close date",)) == 1.0
    assert likeness("Opportunity: Close Date", ("close date",)) < 0.9
    assert likeness("Created", ("close date",)) == 0.0


def test_every_word_of_the_vocabulary_is_about_a_field_that_exists() -> None:
    for entity, fields in vocabulary().fields.items():
        assert fields.keys() <= CONTRACTS[entity].fields.keys(), entity
    assert set(vocabulary().history_fields.values()) == set(HISTORY_FIELDS)
    for export in vendor_exports():
        assert set(export.fields.values()) <= CONTRACTS[export.entity].fields.keys(), export.name


def test_known_names_order_the_stages_though_the_last_has_fewer_dates_of_losing() -> None:
    names = ["Offer Sent", "Lead In", "Demo Booked"]
    # Deals end by status: all that left the first two stages were lost, so "Lost time" is filled there.
    fills = pd.DataFrame({"Created": 1.0, "Lost time": [0.6, 1.0, 1.0]}, index=names)
    facts = StageFacts(stage=pd.Series(names))
    places, why, _ = stage_places(names, facts, fills, {}, set())
    assert sorted(names, key=places.__getitem__) == ["Lead In", "Demo Booked", "Offer Sent"]
    assert why == "by the usual meaning of its name"
