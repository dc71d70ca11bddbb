"""Small exports with the headers that three CRMs write, and the same deals under headers that say nothing."""

import csv
import os
import random
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

OPEN_STAGES = ("Appointment Scheduled", "Qualified To Buy", "Presentation Scheduled", "Contract Sent")
OWNERS = ("Ada Byron", "Max Born")
START = datetime(2024, 1, 8, 9, 30)


def write_csv(
    path: Path, header: Sequence[str], rows: Sequence[Sequence[object]], delimiter: str = ","
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter=delimiter)
        writer.writerow(header)
        writer.writerows([["" if value is None else value for value in row] for row in rows])
    os.utime(path, (START.timestamp(), START.timestamp()))  # a file written just now is looked at twice
    return path


def ways(stages: Sequence[str] = OPEN_STAGES) -> Iterator[tuple[int, dict[str, datetime], str, int]]:
    """120 deals with the instants of their stage entries: number, {stage: instant}, stage now, amount."""
    won, lost = "Closed Won", "Closed Lost"
    dice = random.Random(7)
    for number in range(1, 121):
        at = START + timedelta(days=2 * number)
        reached = dice.randint(1, len(stages))
        entered = {}
        for stage in stages[:reached]:
            entered[stage] = at
            at += timedelta(days=dice.randint(2, 20), minutes=dice.randint(1, 300))
        end = dice.choice((won, lost, None)) if reached == len(stages) else dice.choice((lost, None))
        if end:
            entered[end] = at
        yield number, entered, list(entered)[-1], dice.randint(5, 400) * 100


def hubspot_deals(folder: Path) -> Path:
    stages = (*OPEN_STAGES, "Closed Won", "Closed Lost")
    header = [
        "Record ID", "Deal Name", "Deal Stage", "Close Date", "Deal owner", "Amount", "Pipeline",
        "Create Date", "Associated Company", "Deal Type", "Closed Lost Reason",
        *[f'Date entered "{stage} (Sales Pipeline)"' for stage in stages],
    ]  # fmt: skip
    rows = [
        [
            9_000_000 + number, f"Deal {number}", now,
            f"{START + timedelta(days=2 * number + 60):%Y-%m-%d %H:%M}", OWNERS[number % 2], amount,
            "Sales Pipeline", f"{entered[OPEN_STAGES[0]]:%Y-%m-%d %H:%M}", f"Company {number % 9}",
            "New Business", "Price" if now == "Closed Lost" else None,
            *[f"{entered[s]:%Y-%m-%d %H:%M}" if s in entered else None for s in stages],
        ]
        for number, entered, now, amount in ways()
    ]  # fmt: skip
    return write_csv(folder / "hubspot-crm-exports-all-deals-2024-12-01.csv", header, rows)


def salesforce_history(folder: Path) -> Path:
    header = [
        "Opportunity ID", "Opportunity Name", "Opportunity Owner", "Account Name", "From Stage", "To Stage",
        "Amount", "Probability (%)", "Close Date", "Last Modified", "Last Modified By",
    ]  # fmt: skip
    rows = []
    stages = ("Prospecting", "Needs Analysis", "Proposal/Price Quote", "Negotiation/Review")
    for number, entered, _, amount in ways(stages=stages):
        before = None
        for stage, at in entered.items():
            probability = {"Closed Won": 100, "Closed Lost": 0}.get(
                stage, 10 + 20 * len([*entered][: [*entered].index(stage)])
            )
            rows.append([
                f"006A{number:011d}", f"Deal {number}", OWNERS[number % 2], f"Account {number % 9}",
                before, stage, f"{amount}.00", probability, f"{at + timedelta(days=40):%m/%d/%Y}",
                f"{at:%m/%d/%Y, %I:%M %p}", "Ada Byron",
            ])  # fmt: skip
            before = stage
    return write_csv(folder / "report1733050000000.csv", header, rows)


def pipedrive_deals(folder: Path) -> Path:
    header = [
        "Deal - ID", "Deal - Title", "Deal - Value", "Deal - Currency of Value", "Deal - Organization",
        "Deal - Owner", "Deal - Pipeline", "Deal - Stage", "Deal - Status", "Deal - Deal created",
        "Deal - Update time", "Deal - Won time", "Deal - Lost time", "Deal - Deal closed on",
        "Deal - Expected close date", "Deal - Lost reason", "Deal - Label",
    ]  # fmt: skip
    rows = []
    stages = ("Qualified", "Contact Made", "Demo Scheduled", "Proposal Made")
    for number, entered, now, amount in ways(stages=stages):
        ended = entered.get(now) if now.startswith("Closed") else None
        reached = [stage for stage in entered if stage in stages][-1]
        when = f"{ended:%Y-%m-%d %H:%M:%S}" if ended else None
        rows.append([
            number, f"Deal {number}", amount, "EUR", f"Organization {number % 9}", OWNERS[number % 2],
            "Pipeline", reached, {"Closed Won": "Won", "Closed Lost": "Lost"}.get(now, "Open"),
            f"{next(iter(entered.values())):%Y-%m-%d %H:%M:%S}",
            f"{list(entered.values())[-1]:%Y-%m-%d %H:%M:%S}",
            when if now == "Closed Won" else None, when if now == "Closed Lost" else None, when,
            f"{START + timedelta(days=2 * number + 60):%Y-%m-%d}" if number % 3 else None,
            "Price" if now == "Closed Lost" else None, None,
        ])  # fmt: skip
    return write_csv(folder / "deals-1234567-42.csv", header, rows)


def nameless_files(folder: Path) -> list[Path]:
    """Deals, sellers, wares and customers under headers and stage names that say nothing.

    Stages: Zug → Ort, then Grün (paid) or Grau (nothing paid). Dates: `k` of entering Ort, `m` of the end.
    """
    dice = random.Random(11)
    sellers = [f"Person {letter}" for letter in "ABCDEFGH"]
    wares = {"Ware-One": 100, "Ware-Two": 900, "Ware-Three": 4000, "Ware-Four": 12000}
    customers = [f"Kunde {number:03d}" for number in range(60)]
    rows = []
    for number in range(400):
        stage = dice.choices(("Zug", "Ort", "Grün", "Grau"), (1, 3, 5, 4))[0]
        entered = START + timedelta(days=dice.randint(0, 300))
        ended = entered + timedelta(days=dice.randint(3, 90))
        ware = dice.choice(list(wares))
        paid = {"Grün": round(wares[ware] * dice.uniform(0.9, 1.1)), "Grau": 0}.get(stage)
        written = "Ware One" if ware == "Ware-One" and number % 2 else ware
        rows.append([
            dice.choice(sellers), stage, f"{ended:%Y-%m-%d}" if stage in ("Grün", "Grau") else None,
            written, paid, f"{entered:%Y-%m-%d}" if stage != "Zug" else None, f"X{number:05d}",
            dice.choice(customers) if number % 5 else None,
        ])  # fmt: skip
    return [
        write_csv(folder / "f1.csv", ["q", "w", "m", "t", "y", "k", "p", "o"], rows),
        write_csv(folder / "f2.csv", ["a", "b"], [[s, f"Group {i % 2}"] for i, s in enumerate(sellers)]),
        write_csv(folder / "f3.csv", ["c", "d"], [[ware, price] for ware, price in wares.items()]),
        write_csv(
            folder / "f4.csv", ["e", "g"], [[c, ("Bau", "Handel")[i % 2]] for i, c in enumerate(customers)]
        ),
    ]


def salesforce_opportunity_history(folder: Path) -> Path:
    """A report as the screen shows it: titles above, totals below, cp1252, no stage before the change.

    Every fourth deal changes its amount in the minute in which it enters its second stage.
    """
    header = [
        "Opportunity Name", "Opportunity ID", "Stage", "Amount", "Probability (%)", "Close Date",
        "Owner: Full Name", "Last Modified", "Last Modified By",
    ]  # fmt: skip
    stages = ("Prospecting", "Technical Fit", "Proposal/Price Quote")
    rows: list[list[object]] = []
    for number, entered, _, amount in ways(stages=stages):
        for place, (stage, at) in enumerate(entered.items()):
            for paid in (amount, 2 * amount) if place == 1 and number % 4 == 0 else (amount,):
                rows.append([
                    f"Deal {number}", f"006A{number:011d}", stage, f"USD {paid:,.2f}", f"{10 * place}%",
                    f"{at + timedelta(days=40):%m/%d/%Y}", OWNERS[number % 2], f"{at:%m/%d/%Y %I:%M %p}",
                    "José García",
                ])  # fmt: skip
    path = write_csv(folder / "report1741950000123.csv", header, rows)
    titles = '"Opportunity History"\n"As of 2025-03-14 - Generated by José García"\n\n'
    footer = f'\n"Total Records",{len(rows)}\n"Confidential Information - Do Not Distribute"\n'
    path.write_bytes((titles + path.read_text(encoding="utf-8") + footer).encode("cp1252"))
    return path


def pipedrive_german_deals(folder: Path) -> Path:
    """Semicolons, decimal commas, days first, and stages of a business's own; deals end by status alone."""
    header = [
        "Deal - ID", "Deal - Title", "Deal - Owner", "Deal - Value", "Deal - Currency of Value",
        "Deal - Probability", "Deal - Pipeline", "Deal - Stage", "Deal - Status", "Deal - Deal created",
        "Deal - Next activity date", "Deal - Deal closed on", "Deal - Lost reason", "Deal - Product name",
    ]  # fmt: skip
    rows = []
    stages = ("Kontakt", "Bedarf geklärt", "Vorführung")
    for number, entered, now, amount in ways(stages=stages):
        reached = [stage for stage in entered if stage in stages][-1]
        ended = entered[now] if now.startswith("Closed") else None
        rows.append([
            number, f"Deal {number}", OWNERS[number % 2], f"{amount // 1000}.{amount % 1000:03d},50", "EUR",
            None, "Vertrieb", reached, {"Closed Won": "Won", "Closed Lost": "Lost"}.get(now, "Open"),
            f"{entered[stages[0]]:%d.%m.%Y %H:%M:%S}", None, ended and f"{ended:%d.%m.%Y %H:%M:%S}",
            "Preis" if now == "Closed Lost" else None, None,
        ])  # fmt: skip
    return write_csv(folder / "deals-4711-99.csv", header, rows, delimiter=";")


def hubspot_field_history(folder: Path) -> Path:
    """The deals' property history, as its own report: stage, amount and a property that is not read."""
    header = ["Record ID", "Property", "Old value", "New value", "Date changed", "Changed by", "Change ID"]
    rows: list[list[object]] = []
    for number, entered, _, amount in ways():
        before = None
        for stage, at in entered.items():
            line = [9_000_000 + number, "dealstage", before, stage, f"{at:%Y-%m-%d %H:%M:%S}", "Ada"]
            rows.append([*line, len(rows)])
            before = stage
        line = [9_000_000 + number, "amount", None, f"{amount},50", f"{START:%Y-%m-%d %H:%M:%S}", "Ada"]
        rows.append([*line, len(rows)])
        rows.append(
            [9_000_000 + number, "notes", None, "call", f"{START:%Y-%m-%d %H:%M:%S}", "Ada", len(rows)]
        )
    return write_csv(folder / "property-history.csv", header, rows)
