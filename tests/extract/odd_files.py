"""Files by chance: rows of a layout with drawn defects, in a format, and what must become of each row.

A file follows from one number, so a failing test names the number. It is large, because many rows cost what
few do.
"""

import csv
import gzip
import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
from workbook_writer import workbook

GOOD = {
    "amount": ("", "0", "5", "-1.50", "(7)", "1e3", " 8 "),
    "date": ("", "2026-03-31", "2026-03-31 10:00"),
}
BAD = {"amount": ("TBD", "--1", "NaN", "1e99"), "date": ("2026-02-30", "1900-01-01", "soon", "2026-13-01")}
NOTES = ("x", "Müller & Söhne", "two\nlines", 'a "quoted" word', "semi;colon, comma", "日本")
# A row that is cut off, one with a value too many, a line that is no object: only texts can hold them.
BROKEN = {"csv": ("short", "long"), "jsonl": ("broken line",)}


@dataclass(frozen=True)
class Layout:
    """Columns with the kind of their values, and the block of the source that maps them.

    `key`: a second row of the same first column with other values contradicts the first.
    """

    kinds: Mapping[str, str]
    required: tuple[str, ...]
    source: str
    entity: str
    key: bool = False


@dataclass(frozen=True)
class OddFile:
    """A drawn file: its bytes, and how many rows must be kept, rejected and called duplicates."""

    name: str
    content: bytes
    kept: int
    rejected: int
    duplicate: int


LAYOUTS = {
    "deals": Layout(
        {"ID": "id", "Stage": "text", "Amount": "amount", "Close": "date", "Note": "note"},
        ("ID", "Stage"),
        "    deals:\n      path: deals*\n"
        "      columns: {deal_id: ID, stage: Stage, amount: Amount, close_date: Close}\n",
        "deals",
        key=True,
    ),
    "date columns": Layout(
        {"ID": "id", "Stage": "text", "Met": "date", "Offered": "date", "Note": "note"},
        ("ID", "Stage"),
        "    deals:\n      path: deals*\n      columns: {deal_id: ID, stage: Stage}\n"
        "    stage_entered: {Meeting: Met, Offer: Offered}\n",
        "deals",
        key=True,
    ),
    "change log": Layout(
        {"ID": "id", "At": "needed date", "Stage": "text", "Amount": "amount", "Note": "note"},
        ("ID", "At"),
        "    stage_history:\n      path: changes*\n"
        "      columns: {deal_id: ID, changed_at: At, stage: Stage, amount: Amount}\n",
        "stage_history",
    ),
    "field history": Layout(
        {"ID": "id", "Field": "field", "New": "new value", "At": "needed date", "Note": "note"},
        ("ID", "Field", "At"),  # a blank new value is one that was cleared
        "    field_history:\n      path: changes*\n"
        "      columns: {deal_id: ID, field: Field, new_value: New, changed_at: At}\n"
        "      fields: {Sales Stage: stage, Value: amount}\n",
        "stage_history",
    ),
}  # fmt: skip


def odd_file(rng: Random, layout: Layout, form: str) -> OddFile:
    """A file of a layout in a format, each row with a fate of its own; the last one is good."""
    text_form = "jsonl" if form == "jsonl" else "csv" if form in ("csv", "gz", "zip") else ""
    fates = ["good", "good", "bad value", "empty", "again", "other", *BROKEN.get(text_form, ())]
    drawn = [*rng.choices(fates, k=rng.choice((0, 3, 60))), "good"]
    rows: list[list[str] | str] = []
    verdicts: list[str] = []
    seen: list[list[str]] = []
    told_before: set[tuple[str, ...]] = set()
    keys: set[str] = set()
    for number, fate in enumerate(drawn):
        row = _row(rng, layout, f"D{number}")
        if fate in ("again", "other") and seen:
            earlier = rng.choice(seen)
            row = list(earlier) if fate == "again" else [earlier[0], *row[1:]]
        if fate == "bad value":
            row = _spoiled(rng, layout, row)
        elif fate == "empty":
            row[list(layout.kinds).index(rng.choice(layout.required))] = ""
        elif fate in ("short", "long"):
            row = row[:2] if fate == "short" else [*row, "more"]
        rows.append(f'{{"ID": "D{number}", ' if fate == "broken line" else row)
        verdicts.append(_verdict(layout, row, fate, seen, told_before, keys))
    writers: dict[str, Callable[[], bytes]] = {
        "csv": lambda: _csv(rng, layout, rows),
        "gz": lambda: gzip.compress(_csv(rng, layout, rows)),
        "zip": lambda: _zip(_csv(rng, layout, rows)),
        "jsonl": lambda: _json_lines(layout, rows),
        "parquet": lambda: _parquet(layout, rows),
        "xlsx": lambda: _workbook(rng, layout, rows),
    }
    stem = "deals" if layout.entity == "deals" else "changes"
    name = f"{stem}.csv.gz" if form == "gz" else f"{stem}.{form}"
    counts = [verdicts.count(verdict) for verdict in ("kept", "rejected", "duplicate")]
    return OddFile(name, writers[form](), *counts)


def _row(rng: Random, layout: Layout, deal_id: str) -> list[str]:
    field = rng.choice(("Sales Stage", "Value"))
    values = {
        "id": deal_id,
        "text": rng.choice(("Meeting", "Offer", "offer ", "Legal")),
        "note": rng.choice(NOTES),
        "amount": rng.choice(GOOD["amount"]),
        "date": rng.choice(GOOD["date"]),
        "needed date": rng.choice(GOOD["date"][1:]),
        "field": field,
        "new value": rng.choice(GOOD["amount"][1:]) if field == "Value" else "Offer",
    }
    return [values[kind] for kind in layout.kinds.values()]


def _spoiled(rng: Random, layout: Layout, row: list[str]) -> list[str]:
    kinds = list(layout.kinds.values())
    if "field" in kinds and rng.random() < 0.5:
        spoiled = {"field": "Value", "new value": rng.choice(BAD["amount"])}
        return [spoiled.get(kind, value) for kind, value in zip(kinds, row, strict=True)]
    places = [place for place, kind in enumerate(kinds) if kind in ("amount", "date", "needed date")]
    place = rng.choice(places)
    bad = BAD["amount" if kinds[place] == "amount" else "date"]
    return [*row[:place], rng.choice(bad), *row[place + 1 :]]


def _verdict(
    layout: Layout,
    row: list[str],
    fate: str,
    seen: list[list[str]],
    told_before: set[tuple[str, ...]],
    keys: set[str],
) -> str:
    """What must become of a row: told from the drawing, and from the rows before it."""
    if fate in ("short", "long", "broken line"):
        return "rejected"
    # a report of fields carries no other columns, so rows that differ only there are the same
    told = tuple(row[:-1]) if "field" in layout.kinds.values() else tuple(row)
    if told in told_before:
        return "duplicate"
    contradicts = layout.key and row[0] in keys
    is_good = fate in ("good", "again") or (fate == "other" and row[0] != "" and not contradicts)
    verdict = "kept" if is_good else "rejected"
    told_before.add(told)
    seen.append(row)
    if is_good:
        keys.add(row[0])
    return verdict


def _csv(rng: Random, layout: Layout, rows: Sequence[list[str] | str]) -> bytes:
    """With a delimiter, an encoding, blank lines, titles above the header and a total below, as drawn."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=rng.choice(",;\t|"), lineterminator="\n")
    if rng.random() < 0.5:
        text.write("All of them\nFilter: none\n\n")
    writer.writerow(layout.kinds)
    for row in rows:
        writer.writerow(row)
        if rng.random() < 0.1:
            text.write("\n")
    if rng.random() < 0.5:
        text.write("\nGrand Total\n")
    return text.getvalue().encode(rng.choice(("utf-8", "utf-8-sig", "utf-16")))


def _zip(content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("export/odd.csv", content)
    return out.getvalue()


def _json_lines(layout: Layout, rows: Sequence[list[str] | str]) -> bytes:
    lines = [
        row
        if isinstance(row, str)
        else json.dumps({k: v or None for k, v in zip(layout.kinds, row, strict=True)})
        for row in rows
    ]
    return "\n".join(lines).encode()


def _parquet(layout: Layout, rows: Sequence[list[str] | str]) -> bytes:
    columns = zip(*rows, strict=True)
    out = io.BytesIO()
    pq.write_table(
        pa.table({name: pa.array(c, pa.string()) for name, c in zip(layout.kinds, columns, strict=True)}), out
    )
    return out.getvalue()


def _workbook(rng: Random, layout: Layout, rows: Sequence[list[str] | str]) -> bytes:
    """Amounts as numbers where they are plain, titles above the header, a total below, as drawn."""
    cells: list[list[object]] = [[None if value == "" else value for value in row] for row in rows]
    above: list[list[object]] = [["All of them"], []] if rng.random() < 0.5 else []
    below: list[list[object]] = [[], ["Grand Total"]] if rng.random() < 0.5 else []
    return workbook({"Export": [*above, list(layout.kinds), *cells, *below]})
