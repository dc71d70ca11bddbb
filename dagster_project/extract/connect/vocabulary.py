"""The words people use: vendors' export headers, usual names of fields and stages. Data, not code."""

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

_FOLDER = Path(__file__).resolve().parent
VENDOR_HEADERS = _FOLDER / "vendor_headers.csv"
VOCABULARY = _FOLDER / "vocabulary.yaml"

EXACT, PARTIAL = 1.0, 0.6
# Headers that date the entry into a stage, such as `Date entered "Quote (Sales Pipeline)"`.
ENTERED = re.compile(r"^(?:date (?:of entry|entered)(?: into)?|entered|entry date)\b[\s:\-–]*", re.I)


@dataclass(frozen=True)
class VendorExport:
    """The headers of one export of one CRM: header as `words` writes it → field."""

    name: str
    entity: str
    fields: Mapping[str, str]


@dataclass(frozen=True)
class Vocabulary:
    """Words per kind of file, field, outcome and progress of a sale, all as `words` writes them.

    `history_fields`: what a field history calls a field → our field. `stage_changed`: what dates the entry
    into the stage that a deal is in now.
    """

    files: Mapping[str, frozenset[str]]
    fields: Mapping[str, Mapping[str, tuple[str, ...]]]
    history_fields: Mapping[str, str]
    outcomes: Mapping[str, frozenset[str]]
    progress: Mapping[str, float]
    pipelines: Mapping[str, tuple[str, ...]]
    stage_changed: tuple[str, ...]


def words(text: str) -> str:
    """A header or name as it is compared: small letters, words apart, without punctuation."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text)
    return " ".join(re.findall(r"[^\W_]+", apart.lower()))


@cache
def vendor_exports() -> tuple[VendorExport, ...]:
    """The exports that are known by their headers."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    with VENDOR_HEADERS.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            found.setdefault((row["export"], row["entity"]), {})[words(row["header"])] = row["field"]
    return tuple(VendorExport(name, entity, fields) for (name, entity), fields in found.items())


@cache
def vocabulary() -> Vocabulary:
    """The usual names of fields and stages."""
    data = yaml.safe_load(VOCABULARY.read_text(encoding="utf-8"))
    return Vocabulary(
        files={entity: frozenset(map(words, names)) for entity, names in data["files"].items()},
        fields={
            entity: {field: tuple(map(words, phrases)) for field, phrases in fields.items()}
            for entity, fields in data["fields"].items()
        },
        history_fields={words(name): to for to, found in data["history_fields"].items() for name in found},
        outcomes={outcome: frozenset(map(words, names)) for outcome, names in data["outcomes"].items()},
        progress={words(name): float(place) for place, names in data["progress"].items() for name in names},
        pipelines={name: tuple(map(words, stages)) for name, stages in data["pipelines"].items()},
        stage_changed=tuple(map(words, data["stage_changed"])),
    )


def likeness(header: str, phrases: tuple[str, ...]) -> float:
    """How much a header looks like one of some phrases: 1 equal, 0.6 when it holds or is part of one, else 0.

    The earlier a phrase stands, the more it tells.
    """
    text = words(header)
    parts = set(text.split())
    best = 0.0
    for place, phrase in enumerate(phrases):
        dear = 1 - 0.02 * place
        if text == phrase:
            best = max(best, EXACT * dear)
        elif parts and set(phrase.split()) <= parts:
            best = max(best, (PARTIAL - 0.05 * (len(parts) - len(phrase.split()) - 1)) * dear)
    return best


def file_likeness(stem: str, entity: str) -> float:
    """1 when the name of a file holds a word for an entity, else 0."""
    text = f" {words(stem)} "
    return float(any(f" {name} " in text for name in vocabulary().files.get(entity, ())))


def outcome_by_name(stage: str) -> str | None:
    """won, lost or closed_other when a stage is called so, else None."""
    text = f" {words(stage)} "
    for outcome, names in vocabulary().outcomes.items():
        if any(f" {name} " in text for name in names):
            return outcome
    return None


def dates_stage_change(header: str) -> bool:
    """Whether a column dates the last change of a deal's stage, by its header."""
    text = f" {words(header)} "
    return any(f" {phrase} " in text for phrase in vocabulary().stage_changed)


def is_about_stages(header: str) -> bool:
    """Whether a column of a deals file dates the entry into a stage, by its header."""
    return ENTERED.match(header) is not None or dates_stage_change(header)


def usual_pipeline(stages: Iterable[str]) -> tuple[str, dict[str, float]] | None:
    """A pipeline that a vendor begins with and that has all of some stages (three or more), with places."""
    names = {stage: words(stage) for stage in stages}
    for title, known in vocabulary().pipelines.items():
        if len(names) >= 3 and set(names.values()) <= set(known):
            return title, {stage: float(known.index(name)) for stage, name in names.items()}
    return None


def progress_by_name(stage: str) -> float | None:
    """How far along a stage usually is by its name, 0 to 1; None for names of a business's own."""
    text = words(stage)
    known = vocabulary().progress
    if text in known:
        return known[text]
    parts = set(text.split())
    found = [place for name, place in known.items() if set(name.split()) <= parts]
    return max(found, default=None)
