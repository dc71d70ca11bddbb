"""The challenger: what it may look at, what it learns, and that it never knows what happened later."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dagster_project.forecast import challenger as learned
from dagster_project.forecast.challenger import challenge_hazards, train
from dagster_project.forecast.daily_book import build_daily_book
from dagster_project.forecast.deal_features import (
    LOSS,
    NEITHER,
    WIN,
    DealBook,
    deal_book,
    owner_records,
    usable_features,
)
from dagster_project.forecast.deal_snapshots import Snapshots, read_snapshots
from dagster_project.forecast.evidence import read_evidence
from dagster_project.forecast.fiscal_quarters import FiscalQuarters
from dagster_project.forecast.hazard_queries import expected_of_days, expected_of_weeks
from dagster_project.forecast.ledger_queries import CALENDAR
from dagster_project.forecast.situations import CHALLENGER, HAZARDS, outlook
from dagster_project.warehouse import Warehouse
from tests.hazard_bench import build_hazards
from tests.synthetic_ledger import (
    Deal,
    LedgerTables,
    Move,
    cut_at,
    ledger_tables,
    open_deal,
    random_deals,
    write_ledger,
)

LAST = date(2025, 12, 31)
CUT = date(2025, 8, 13)  # a Wednesday in the middle of a quarter and of a month
FUTURE = ["closed_on", "outcome"]


def built(folder: Path, tables: LedgerTables) -> Warehouse:
    return build_hazards(write_ledger(folder / "warehouse.duckdb", tables))


def quarters_of(warehouse: Warehouse) -> FiscalQuarters:
    return FiscalQuarters.from_days(warehouse.query(CALENDAR), 3)


def answer(warehouse: Warehouse, *days: date) -> pd.DataFrame:
    return read_evidence(warehouse, days, with_challenger=True).by_challenger


@pytest.fixture(scope="module")
def tables() -> LedgerTables:
    deals = [
        replace(deal, key=deal.key.replace("d", "0")) for deal in random_deals(date(2023, 12, 4), LAST, 12, 5)
    ]
    return ledger_tables(deals, LAST)


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory, tables: LedgerTables) -> Warehouse:
    return built(tmp_path_factory.mktemp("whole"), tables)


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory, tables: LedgerTables) -> Warehouse:
    return built(tmp_path_factory.mktemp("cut"), cut_at(tables, CUT))


@pytest.fixture(scope="module")
def book(warehouse: Warehouse) -> DealBook:
    return deal_book(read_snapshots(warehouse, []), quarters_of(warehouse))


@pytest.fixture(scope="module")
def whole_answer(warehouse: Warehouse) -> pd.DataFrame:
    return answer(warehouse, CUT)


# --- what was known of a deal ---


def one_deal() -> LedgerTables:
    """Monday 6 January 2025 and after; the week ends on Sundays."""
    moves = (
        Move(date(2025, 1, 6), "prospect", amount=100.0, close_date=date(2025, 2, 10)),
        Move(date(2025, 1, 15), "prospect", amount=150.0, close_date=date(2025, 2, 20), owner="ben"),
        Move(date(2025, 1, 22), "proposal", amount=150.0, close_date=date(2025, 2, 15), owner="ben"),
        Move(date(2025, 1, 29), "prospect", amount=150.0, close_date=date(2025, 3, 1), owner="ben"),
        Move(date(2025, 2, 5), "won", "won", 140.0, date(2025, 2, 5), owner="ben"),
    )
    others = [
        Deal(f"{n:x}", (Move(date(2024, 1, 2), "prospect"), Move(date(2024, 2, 1 + n % 9), "won", "won")))
        for n in range(16, 56)
    ]
    return ledger_tables([Deal("a1", moves), *others, open_deal("c1", date(2024, 1, 2))], date(2025, 3, 31))


def test_a_snapshot_holds_what_was_known_of_the_deal_on_that_day(tmp_path: Path) -> None:
    warehouse = built(tmp_path, one_deal())
    deals = read_snapshots(warehouse, [date(2025, 1, 23)]).deals
    seen = deals[(deals["as_of"] >= "2025-01-06") & (deals["stage_rank"] * 0 + deals["days_open"] < 300)]
    columns = ["as_of", "stage_key", "weeks_in_stage", "days_open", "amount", "owner_key", "pushes"]
    columns += ["amount_changes", "visit_number", "stage_rank"]
    found = [(f"{row[0]:%m-%d}", *row[1:]) for row in seen[columns].itertuples(index=False)]
    assert found == [
        ("01-12", "prospect", 0, 6, 100.0, "ann", 0, 0, 1, 1),
        ("01-19", "prospect", 1, 13, 150.0, "ben", 1, 1, 1, 1),
        ("01-23", "proposal", 0, 17, 150.0, "ben", 1, 1, 1, 2),  # asked for, no week's end
        ("01-26", "proposal", 0, 20, 150.0, "ben", 1, 1, 1, 2),  # brought forward is no push
        ("02-02", "prospect", 0, 27, 150.0, "ben", 2, 1, 2, 1),
    ]
    assert [f"{day:%m-%d}" for day in seen["close_date"]] == ["02-10", "02-20", "02-15", "02-15", "03-01"]
    assert set(seen["outcome"]) == {"won"} and set(seen["closed_on"]) == {pd.Timestamp("2025-02-05")}


def test_what_was_known_on_a_day_is_what_the_ledger_cut_at_that_day_tells(
    warehouse: Warehouse, cut: Warehouse
) -> None:
    whole, known = (read_snapshots(ledger, [CUT]).deals for ledger in (warehouse, cut))
    whole = whole[whole["as_of"] <= pd.Timestamp(CUT)].reset_index(drop=True)
    assert len(known) > 2000 and known["as_of"].max() == pd.Timestamp(CUT)
    pd.testing.assert_frame_equal(
        whole.drop(columns=FUTURE), known.drop(columns=FUTURE), check_exact=True, check_dtype=False
    )
    assert not whole["closed_on"].equals(known["closed_on"])  # the cut has forgotten something


def test_an_amount_or_close_date_without_a_history_is_not_known_of_past_days(tmp_path: Path) -> None:
    tables = one_deal()
    tables.versions[["amount_asof_quality", "close_date_asof_quality"]] = "current_values"
    warehouse = built(tmp_path, tables)
    deals = read_snapshots(warehouse, []).deals
    assert len(deals) and deals[["amount", "close_date", "pushes"]].isna().all(axis=None)
    book = deal_book(Snapshots(deals, read_snapshots(warehouse, []).closings), quarters_of(warehouse))
    names, refused = usable_features(book, np.arange(len(deals)), book.day.max())
    assert not {"amount", "pushes", "weeks to the close date"} & set(names)
    assert "weeks to the close date: not known of past days" in refused


def test_a_large_book_shows_some_of_its_deals_each_of_which_stands_for_as_many(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = read_snapshots(warehouse, [CUT]).deals
    monkeypatch.setattr("dagster_project.forecast.deal_snapshots.MOST_DEALS", 20)
    some = read_snapshots(warehouse, [CUT]).deals
    assert some["every_nth"].max() >= 4
    merged = some.merge(whole, on=["as_of", "deal_number"], suffixes=("", "_whole"))
    assert len(merged) == len(some)
    sizes, looked_at = whole.groupby("as_of").size(), some.groupby("as_of").size()
    stands_for = some.groupby("as_of")["every_nth"].first()
    assert (sizes / stands_for <= 20).all()
    assert abs((looked_at * stands_for).sum() / sizes.sum() - 1) < 0.05
    # The turn moves on: a deal that one week leaves out is looked at in another, unless it is gone by then.
    assert some["deal_number"].nunique() > 0.6 * whole["deal_number"].nunique()


def test_an_owners_record_counts_only_what_was_closed_by_the_day() -> None:
    closings = pd.DataFrame(
        {
            "owner_key": ["ann", "ben", "ann"],
            "closed_on": pd.to_datetime(["2025-01-10", "2025-01-12", "2025-01-20"]),
            "won": [1, 0, 4],
            "closed": [2, 2, 4],
        }
    )
    days = [date(2025, 1, 9), date(2025, 1, 10), date(2025, 1, 19), date(2025, 1, 20), date(2025, 1, 20)]
    owners = pd.Series(["ann", "ann", "ann", "ann", "zoe"])
    found = owner_records(owners, np.array([day.toordinal() for day in days], dtype=float), closings)
    assert np.isnan(found[0])
    # 1 of 2 in all; then 1 of 4 and 5 of 8, each with the weight of 20 closings
    expected = [(1 + 20 * 0.5) / 22, (1 + 20 * 0.25) / 22, (5 + 20 * 0.625) / 26, 0.625]
    assert found[1:] == pytest.approx(expected)


# --- what is learned ---


def small_book(**changes: object) -> DealBook:
    """120 deals seen on 31 January; in turn won, lost and open at the end of March."""
    day = float(date(2025, 1, 31).toordinal())
    closed = np.tile([float(date(2025, 3, 10).toordinal()), float(date(2025, 3, 20).toordinal()), np.inf], 40)
    facts = {
        "day": np.full(120, day),
        "quarter": np.zeros(120, dtype=np.int64),
        "deal": np.arange(120),
        "stands_for": np.ones(120),
        "amount_if_won": np.full(120, 10.0),
        "chances": np.full((120, 5), 0.1),
        "features": {"amount": np.arange(120.0), "weeks in stage": np.arange(120.0) % 7},
        "closes_on": np.full(120, np.nan),
        "closed_on": closed,
        "is_won": np.tile([True, False, False], 40),
        "ends": np.array(
            [date(2025, 3, 31).toordinal(), *(date(2025, 6, 30).toordinal() + 91 * n for n in range(6))],
            dtype=float,
        ),
        "owner_changes_from": float("inf"),
    }
    return DealBook(**{**facts, **changes})


def test_a_window_knows_who_was_open_before_it_and_what_became_of_them() -> None:
    book = small_book()
    outcome, was_open = book.outcome_in(0)
    assert list(outcome[:3]) == [WIN, LOSS, NEITHER] and was_open.all()
    later, still_open = book.outcome_in(1)
    assert list(later[:3]) == [NEITHER] * 3 and list(still_open[:3]) == [False, False, True]


@pytest.mark.parametrize(
    ("filled", "words"),
    [
        (lambda book: np.isfinite(book.closed_on), "filled on 0% of open deals and 100% of closed ones"),
        (lambda book: ~np.isfinite(book.closed_on), "filled on 0% of closed deals and 100% of open ones"),
        (lambda book: book.is_won, "filled on 0% of open deals and 50% of closed ones"),
        (lambda book: ~book.is_won, "filled on 0% of won deals and 100% of lost ones"),
    ],
)
def test_a_feature_that_is_filled_by_the_outcome_is_refused_and_reported(
    filled: Callable[[DealBook], np.ndarray], words: str
) -> None:
    plain = small_book()
    leaking = np.where(filled(plain), np.arange(120.0), np.nan)
    book = replace(plain, features={**plain.features, "probability": leaking})
    names, refused = usable_features(book, np.arange(120), book.ends[0])
    assert names == ["amount", "weeks in stage"]
    assert refused == [f"probability: {words}, so it would tell the outcome"]


def test_a_feature_with_gaps_that_tell_nothing_is_kept() -> None:
    plain = small_book()
    gaps = np.where(np.arange(120) % 2 == 0, np.arange(120.0), np.nan)
    book = replace(plain, features={"probability": gaps, "pushes": np.zeros(120)})
    assert usable_features(book, np.arange(120), book.ends[0]) == (["probability"], [])


def test_owners_that_never_change_may_be_those_of_today() -> None:
    book = small_book(features={"owner's record": np.arange(120.0)})
    names, refused = usable_features(book, np.arange(120), book.ends[0])
    assert names == [] and "the owner of today" in refused[0]
    changes = replace(book, owner_changes_from=book.ends[0])
    assert usable_features(changes, np.arange(120), book.ends[0]) == (["owner's record"], [])


def test_nothing_that_ended_after_the_quarter_before_is_learned_from(
    book: DealBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    quarter = int(book.quarter.max()) - 1
    until = book.ends[quarter - 1]
    seen: list[tuple[np.ndarray, np.ndarray]] = []
    windows = learned._ended_windows

    def spied(book: DealBook, until: float):  # type: ignore[no-untyped-def]
        for window, rows, outcome in windows(book, until):
            assert (book.window(window)[1][rows] <= until).all() and (book.day[rows] < until).all()
            closed = outcome != NEITHER
            assert (book.closed_on[rows][closed] <= until).all()
            seen.append((rows, outcome))
            yield window, rows, outcome

    monkeypatch.setattr(learned, "_ended_windows", spied)
    model, _ = train(book, quarter)
    assert model is not None and sum(len(rows) for rows, _ in seen) > 1000
    # What happens later changes nothing: every later outcome the other way round.
    after = book.closed_on > until
    other = replace(book, is_won=np.where(after, ~book.is_won, book.is_won))
    rows = np.flatnonzero(book.quarter == quarter)
    again, _ = train(other, quarter)
    assert again is not None
    assert np.array_equal(model.chances(book, rows), again.chances(other, rows))
    # What happened before does.
    before = replace(book, is_won=np.where(after, book.is_won, ~book.is_won))
    changed, _ = train(before, quarter)
    assert changed is not None
    assert not np.array_equal(model.chances(book, rows), changed.chances(before, rows))


def two_kinds(tmp_path: Path) -> Warehouse:
    """Ten deals a week for two years, each pushed once or not, in the first week; nothing else differs.

    Of those never pushed every one is won after three weeks, of the pushed ones every one is lost then.
    """
    deals: list[Deal] = []
    for week in range(104):
        opened = date(2024, 1, 1) + timedelta(weeks=week)
        for number in range(10):
            due, closed = opened + timedelta(days=60), opened + timedelta(days=21 + number)
            moves = [Move(opened, "proposal", close_date=due)]
            if number % 2:
                moves.append(Move(opened + timedelta(days=1), "proposal", close_date=due + timedelta(days=1)))
            else:
                moves.append(Move(opened + timedelta(days=1), "proposal", close_date=due - timedelta(days=1)))
            status = "lost" if number % 2 else "won"
            moves.append(Move(closed, status, status, 100.0, closed))
            deals.append(Deal(f"{len(deals):016x}", tuple(move for move in moves if move.day <= LAST)))
    return built(tmp_path, ledger_tables(deals, LAST))


def test_what_hazards_cannot_see_is_learned_where_it_decides(tmp_path: Path) -> None:
    warehouse = two_kinds(tmp_path)
    book = deal_book(read_snapshots(warehouse, []), quarters_of(warehouse))
    quarter = int(book.quarter.max())
    model, _ = train(book, quarter)
    assert model is not None
    middle = date(2025, 11, 2)  # all deals of this day close in the quarter
    rows = np.flatnonzero(book.day == middle.toordinal())
    pushed = book.features["pushes"][rows] > 0
    assert pushed.any() and not pushed.all()
    curves, chance = book.chances[rows, 0], model.chances(book, rows)[:, 0]
    # Learned: 1 and 0. What is told is the mean of that and of the curves, which tell them not apart.
    assert chance[~pushed] == pytest.approx(0.5 + curves[~pushed] / 2, abs=0.06)
    assert chance[pushed] == pytest.approx(curves[pushed] / 2, abs=0.06)


def test_a_business_that_records_no_losses_is_learned_from(tmp_path: Path) -> None:
    deals = []
    for number in range(500):
        opened = date(2024, 1, 1) + timedelta(days=number)
        moves = [Move(opened, "proposal", amount=100.0 + number % 9)]
        if number % 2:
            closed = opened + timedelta(days=30 + number % 20)
            moves.append(Move(closed, "won", "won", 100.0, closed))
        deals.append(Deal(f"{number:016x}", tuple(moves)))
    found = answer(built(tmp_path, ledger_tables(deals, LAST)))
    assert len(found) > 5 * 20


# --- answers ---


def test_the_challenger_answers_where_hazards_do_once_a_model_is_made(
    warehouse: Warehouse, whole_answer: pd.DataFrame
) -> None:
    by_hazards, by_challenger = expected_of_weeks(warehouse), whole_answer
    key = ["as_of", "quarter_number"]
    weeks = by_challenger[by_challenger["as_of"] != pd.Timestamp(CUT)]
    both = by_hazards.merge(weeks, on=key, suffixes=("", "_told"), how="left")
    answered = both["open_expected_told"].notna()
    assert (answered == (both["as_of"] >= both.loc[answered, "as_of"].min())).all()
    assert answered.mean() > 0.8
    told = both[answered]
    assert (told["new_expected"] == told["new_expected_told"]).all()
    assert not told["open_expected"].equals(told["open_expected_told"])
    # As an independent route to the order of magnitude: the two models agree on the whole.
    assert told["open_expected_told"].sum() == pytest.approx(told["open_expected"].sum(), rel=0.15)
    assert (
        list(by_challenger[by_challenger["as_of"] == pd.Timestamp(CUT)]["quarter_number"].diff()[1:])
        == [1] * 4
    )


def test_the_outlook_has_the_answer_of_the_challenger_beside_that_of_hazards(
    warehouse: Warehouse, whole_answer: pd.DataFrame
) -> None:
    evidence = replace(read_evidence(warehouse, [CUT]), by_challenger=whole_answer)
    seen = outlook(build_daily_book(evidence, LAST), CUT, 0)
    told = whole_answer[whole_answer["as_of"] == pd.Timestamp(CUT)].iloc[0]
    assert seen.remaining[CHALLENGER].from_open == pytest.approx(told["open_expected"] * 1000)
    assert seen.remaining[CHALLENGER].from_new == seen.remaining[HAZARDS].from_new
    without = outlook(build_daily_book(read_evidence(warehouse, [CUT]), LAST), CUT, 0)
    assert CHALLENGER not in without.remaining and HAZARDS in without.remaining


def test_an_answer_is_that_of_the_ledger_cut_at_its_day(whole_answer: pd.DataFrame, cut: Warehouse) -> None:
    known = answer(cut, CUT)
    whole = whole_answer[whole_answer["as_of"] <= pd.Timestamp(CUT)].reset_index(drop=True)
    assert known["as_of"].max() == pd.Timestamp(CUT) and len(known) > 5 * 30
    pd.testing.assert_frame_equal(whole, known, check_exact=True)


def test_part_of_a_book_is_scaled_to_what_hazards_expect_of_all(
    warehouse: Warehouse, whole_answer: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagster_project.forecast.deal_snapshots.MOST_DEALS", 40)
    some = answer(warehouse, CUT)
    assert len(some) == len(whole_answer)
    error = (some["open_expected"] - whole_answer["open_expected"]).abs().sum()
    assert 0 < error < 0.1 * whole_answer["open_expected"].sum()


def test_a_day_without_open_deals_keeps_the_answer_of_hazards(warehouse: Warehouse) -> None:
    by_hazards = expected_of_weeks(warehouse)
    snapshots, quarters = read_snapshots(warehouse, []), quarters_of(warehouse)
    day = snapshots.deals["as_of"].max()
    emptied = Snapshots(snapshots.deals[snapshots.deals["as_of"] != day], snapshots.closings)
    found = challenge_hazards(emptied, by_hazards, quarters).expected
    of_day, of_hazards = (
        frame[frame["as_of"] == day].reset_index(drop=True) for frame in (found, by_hazards)
    )
    pd.testing.assert_frame_equal(of_day, of_hazards[list(of_day)], check_dtype=False)


def test_too_few_wins_make_no_model(tmp_path: Path) -> None:
    assert answer(built(tmp_path, one_deal())).empty


PROGRAM = """
import sys
from datetime import date
from pathlib import Path
from dagster_project.forecast.evidence import read_evidence
from dagster_project.warehouse import Warehouse
warehouse = Warehouse(Path(sys.argv[1]), threads=int(sys.argv[2]))
frame = read_evidence(warehouse, [date(2025, 8, 13)], with_challenger=True).by_challenger
sys.stdout.write(frame.to_csv(float_format="%.17g"))
"""


def test_one_thread_and_two_and_a_second_time_tell_the_same_to_the_byte(
    warehouse: Warehouse, whole_answer: pd.DataFrame
) -> None:
    texts = [whole_answer.to_csv(float_format="%.17g").encode()]
    for threads in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(warehouse.path), threads],
            env={**os.environ, "OMP_NUM_THREADS": threads},
            capture_output=True,
            check=True,
            cwd=Path(__file__).resolve().parents[2],
        )
        texts.append(done.stdout)
    assert len(texts[0].splitlines()) > 100
    assert texts[0] == texts[1] == texts[2]


def test_a_day_asked_for_is_answered_as_the_weeks_end_that_it_is(warehouse: Warehouse) -> None:
    """The chances of a week's end come from dbt's table, those of any other day from its macros."""
    sunday = date(2025, 8, 17)
    whole = read_snapshots(warehouse, [sunday]).deals
    weeks = read_snapshots(warehouse, []).deals
    assert len(whole) == len(weeks)
    expected = expected_of_days(warehouse, [sunday])["open_expected"].iloc[0]
    book = whole[whole["as_of"] == pd.Timestamp(sunday)]
    assert (book["p_win_0"] * book["amount_if_won"]).sum() == pytest.approx(expected, abs=0.02)


WITHOUT_THE_PACKAGE = """
import sys
from pathlib import Path
for name in ("sklearn", "joblib", "threadpoolctl"):
    sys.modules[name] = None
from dagster_project.definitions import defs
from dagster_project.forecast.evidence import read_evidence
from dagster_project.warehouse import Warehouse
evidence = read_evidence(Warehouse(Path(sys.argv[1])))
sys.stdout.write(f"{len(evidence.by_hazards) > 0} {len(evidence.by_challenger)}")
"""


def test_without_the_package_everything_else_works(warehouse: Warehouse) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_PACKAGE, str(warehouse.path)],
        capture_output=True,
        check=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert done.stdout.decode() == "True 0"
