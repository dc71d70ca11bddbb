"""A night with hashed e-mail addresses: no address is in the data folder, and every figure is as without."""

import csv
from pathlib import Path

import duckdb
import pytest

from dagster_project.cli.run import run_nightly
from dagster_project.owner_emails import OwnerEmails
from dagster_project.publish.versions import current_file
from dagster_project.settings import Settings, load_settings
from tests.long_tests import LONG
from tests.pipeline.nightly_bench import RUN_COLUMNS, Business, settle, simulated_business, traces

pytestmark = [pytest.mark.slow, LONG]

KEY = "a key of the tests, long enough"
# Tables in which owners are told by name, by address, by team and not at all.
TABLES = (
    *("bi_deals", "dim_owner", "mart_sales_performance", "mart_rep_scorecard", "mart_pipeline_daily"),
    *("forecast_submissions", "forecast_submission_accuracy"),
)


def name_owners_by_address(business: Business) -> tuple[str, ...]:
    """Owners are told by their address, and reps submit under it, in capital letters; all addresses."""
    rows = {}
    for name in ("owners", "deals", "stage_history"):
        with (business.export / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
            rows[name] = list(csv.DictReader(stream))
    address = {row["User ID"]: row["Email"] for row in rows["owners"]}
    for row in rows["owners"]:
        row["User ID"] = row["Email"]
    for row in [*rows["deals"], *rows["stage_history"]]:
        row["Owner ID"] = address.get(row["Owner ID"], row["Owner ID"])
    rows["submissions"] = [
        {
            "submitted_on": day,
            "period": quarter,
            "owner": row["Email"].upper(),
            "category": "commit",
            "amount": str(1000 * number),
            "currency": "EUR",
        }
        for number, row in enumerate(rows["owners"], start=1)
        for day, quarter in (("2025-11-03", "2025Q4"), ("2026-02-02", "2026Q1"), ("2026-05-04", "2026Q2"))
    ]
    for name, table in rows.items():
        with (business.export / f"{name}.csv").open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(table[0]))
            writer.writeheader()
            writer.writerows(table)
    settle(business.export)
    return tuple(text for email in address.values() for text in (email, email.upper()))


def differing(plain: Path, hashed: Path) -> dict[str, tuple[int, int]]:
    """Table → rows of one file alone and rows in all; of the plain one every address has its pseudonym."""
    found = {}
    with duckdb.connect() as connection:
        connection.create_function("named", OwnerEmails(KEY).text, ["VARCHAR"], "VARCHAR")
        connection.execute(f"attach '{plain}' as p (read_only); attach '{hashed}' as h (read_only)")
        for table in TABLES:
            columns = connection.execute(f"describe p.{table}").fetchall()
            told = [(name, kind) for name, kind, *_ in columns if not name.endswith("_key")]
            told = [(name, kind) for name, kind in told if name not in RUN_COLUMNS]
            one = ", ".join(f'named("{n}") as "{n}"' if kind == "VARCHAR" else f'"{n}"' for n, kind in told)
            other = ", ".join(f'"{n}"' for n, _ in told)
            ours, theirs = f"select {one} from p.{table}", f"select {other} from h.{table}"
            row = connection.execute(
                f"select (select count(*) from ({ours} except all {theirs})) "
                f"+ (select count(*) from ({theirs} except all {ours})), (select count(*) from ({theirs}))"
            ).fetchone()
            assert row is not None
            found[table] = row
    return found


def test_no_address_is_in_the_data_folder_and_every_figure_is_as_without_the_key(tmp_path: Path) -> None:
    business = simulated_business(tmp_path)
    addresses = name_owners_by_address(business)
    text = business.config.read_text(encoding="utf-8") + "\nreport: {pages: [full, team]}\n"
    business.config.write_text(text, encoding="utf-8")
    hashing = tmp_path / "hashing.yaml"
    asked = "business:\n  hash_owner_emails: ${EMAIL_KEY}\n"
    hashing.write_text(text.replace("business:\n", asked, 1), encoding="utf-8")
    plain = business.settings()
    hashed = load_settings(hashing, tmp_path / "hashed", {"EMAIL_KEY": KEY})
    for settings in (plain, hashed):
        run_nightly(settings)

    assert {"warehouse.duckdb", "published/marts-1.duckdb"} <= traces(plain.paths.root, addresses).keys()
    assert traces(hashed.paths.root, (*addresses, KEY)) == {}
    rows = differing(file_of(plain), file_of(hashed))
    assert all(total > 0 for _, total in rows.values())
    assert {table: count for table, (count, _) in rows.items() if count} == {}
    with duckdb.connect(str(file_of(hashed)), read_only=True) as connection:
        emails = connection.execute("select distinct email from dim_owner where email is not null").fetchall()
    assert emails and all(email.startswith("email-") for (email,) in emails)


def file_of(settings: Settings) -> Path:
    """The version that readers see."""
    path = current_file(settings.paths.published_dir)
    assert path is not None
    return path
