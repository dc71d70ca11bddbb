"""`make connect` on exports whose words it has to find out: states in other languages, entry dates."""

import json
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import vendor_exports as exports
from test_connect import drafted, headers, stages, tried

from dagster_project.extract.connect.status_words import read_statuses
from dagster_project.extract.landing import PART, Landing

STAGES = ("Idea", "Workshop", "Quote")


def ended(entered: dict[str, datetime], now: str) -> tuple[str, str, datetime | None]:
    """State of a deal, the stage that it keeps, and its end: it ends by its status alone."""
    state = {"Closed Won": "won", "Closed Lost": "lost"}.get(now, "open")
    return (
        state,
        [stage for stage in entered if stage in STAGES][-1],
        entered.get(now) if state != "open" else None,
    )


def landed(folder: Path, entity: str) -> list[dict[str, str]]:
    return [
        json.loads(row["payload"])
        for batch in Landing(folder / "data" / "landing").batches(entity=entity)
        for row in pq.read_table(batch.folder / PART).to_pylist()
    ]


def deals_file(folder: Path, words: dict[str, str], header: list[str], *, reasons: bool = True) -> Path:
    """Id, name, stage, state, three days, owner, account and lost reason of each deal; no amount."""
    rows = []
    for number, entered, now, _ in exports.ways(stages=STAGES):
        state, stage, end = ended(entered, now)
        created = entered[STAGES[0]]
        expected = end or created + timedelta(days=70)
        reason = "Preis" if reasons and state == "lost" else None
        days = [f"{day:%d.%m.%Y}" if day else None for day in (created, expected, end)]
        rows.append(
            [f"V{number}", f"Deal {number}", stage, words[state], *days, "Ada", f"F{number % 9}", reason]
        )
    return exports.write_csv(folder / "deals.csv", header, rows, delimiter=";")


GERMAN = [
    *("Verkaufschance-ID", "Titel", "Phase", "Status", "Erstellt am", "Erwartetes Abschlussdatum"),
    *("Abgeschlossen am", "Verantwortlicher", "Firma", "Verlustgrund"),
]
FRENCH = [
    *("ID opportunité", "Nom", "Étape", "Statut", "Créé le", "Date de clôture prévue", "Clôturé le"),
    *("Propriétaire", "Entreprise", "Motif de perte"),
]
SPANISH = [
    *("ID oportunidad", "Nombre", "Etapa", "Estado", "Creado el", "Fecha de cierre prevista", "Cerrado el"),
    *("Propietario", "Empresa", "Motivo de pérdida"),
]
FIELDS = (
    *("deal_id", "name", "stage", "status", "created_at", "close_date", "closed_at"),
    *("owner", "account", "lost_reason"),
)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (GERMAN, {"open": "Offen", "won": "Gewonnen", "lost": "Verloren"}),
        (FRENCH, {"open": "En cours", "won": "Gagnée", "lost": "Perdue"}),
        (SPANISH, {"open": "Abierta", "won": "Ganada", "lost": "Perdida"}),
    ],
    ids=["German", "French", "Spanish"],
)
def test_an_export_in_another_language_and_without_amounts_needs_no_edit(
    tmp_path: Path, header: list[str], words: dict[str, str]
) -> None:
    source = drafted(tmp_path, deals_file(tmp_path, words, header))
    assert headers(source) == dict(zip(FIELDS, header, strict=True))
    assert dict(source.statuses) == {word: state for state, word in words.items()}
    assert Counter(stages(source)) == Counter((stage, "open") for stage in STAGES)
    assert "amount: no column was found" in (tmp_path / "my" / "pipeline.yaml").read_text()
    if header is not GERMAN:
        return
    assert tried(tmp_path).is_good
    truth = {f"V{number}": ended(entered, now) for number, entered, now, _ in exports.ways(stages=STAGES)}
    found = {deal["deal_id"]: (deal["status"], deal["stage"]) for deal in landed(tmp_path, "deals")}
    assert found == {number: (state, stage) for number, (state, stage, _) in truth.items()}
    ends = {deal["deal_id"] for deal in landed(tmp_path, "deals") if deal["closed_at"]}
    assert ends == {number for number, (_, _, end) in truth.items() if end}


def test_words_of_any_language_are_told_by_closing_dates_and_lost_reasons(tmp_path: Path) -> None:
    finnish = {"open": "Avoin", "won": "Voitettu", "lost": "Hävitty"}
    header = ["Deal ID", "Deal Name", "Stage", "Status", "a", "b", "c", "Owner", "Company", "Lost reason"]
    source = drafted(tmp_path, deals_file(tmp_path, finnish, header))
    assert dict(source.statuses) == {"Avoin": "open", "Voitettu": "won", "Hävitty": "lost"}
    # The column that only closed deals fill dates their end, whatever its header.
    assert headers(source)["closed_at"] == "c"
    text = (tmp_path / "my" / "pipeline.yaml").read_text()
    assert "CHECK: its deals are closed, and none has a lost reason: look" in text


def test_closed_words_without_lost_reasons_are_marked_and_never_guessed(tmp_path: Path) -> None:
    finnish = {"open": "Avoin", "won": "Voitettu", "lost": "Hävitty"}
    header = [
        "Deal ID",
        "Deal Name",
        "Stage",
        "Status",
        "Created",
        "b",
        "c",
        "Owner",
        "Company",
        "Lost reason",
    ]
    source = drafted(tmp_path, deals_file(tmp_path, finnish, header, reasons=False))
    assert dict(source.statuses) == {"Avoin": "open", "Voitettu": "closed_other", "Hävitty": "closed_other"}
    text = (tmp_path / "my" / "pipeline.yaml").read_text()
    assert text.count("CHECK: its deals are closed, but nothing tells whether won or lost") == 2


def test_known_words_need_no_line_and_texts_of_many_words_are_no_states() -> None:
    known = pd.Series(["Open", "WON", "lost", "in progress", "Closed Won"])
    assert read_statuses(known, (), None).words == ()
    assert read_statuses(pd.Series([f"Perdu {number}" for number in range(13)]), (), None).words == ()
    assert read_statuses(None, (), None).words == ()


def test_the_last_change_of_stage_dates_the_stage_that_a_deal_is_in(tmp_path: Path) -> None:
    header = [
        *("Deal - ID", "Deal - Title", "Deal - Stage", "Deal - Status", "Deal - Value"),
        *("Deal - Deal created", "Deal - Last stage change", "Deal - Expected close date"),
        *("Deal - Deal closed on", "Deal - Owner", "Deal - Lost reason"),
    ]
    rows, truth = [], {}
    for number, entered, now, amount in exports.ways(stages=STAGES):
        state, stage, end = ended(entered, now)
        first, expected = entered[STAGES[0]], entered[stage] + timedelta(days=40)
        truth[str(number)] = (stage, f"{entered[stage]:%Y-%m-%d %H:%M}:00")
        rows.append([
            number, f"Deal {number}", stage, state.title(), amount, f"{first:%Y-%m-%d %H:%M}:00",
            f"{entered[stage]:%Y-%m-%d %H:%M}:00", f"{expected:%Y-%m-%d}", end and f"{end:%Y-%m-%d %H:%M}:00",
            "Ada", "Price" if state == "lost" else None,
        ])  # fmt: skip
    source = drafted(tmp_path, exports.write_csv(tmp_path / "deals.csv", header, rows))
    assert dict(source.stage_entered) == dict.fromkeys(STAGES, "Deal - Last stage change")
    assert headers(source)["closed_at"] == "Deal - Deal closed on"
    assert "modified_at" not in headers(source)
    assert tried(tmp_path).is_good
    entries = {row["deal_id"]: (row["stage"], row["changed_at"]) for row in landed(tmp_path, "stage_history")}
    assert entries == truth
    assert len(landed(tmp_path, "stage_history")) == len(truth)
