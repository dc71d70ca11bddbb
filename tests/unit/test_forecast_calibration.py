"""Whether chances hold: tenths of the deals by their chance, and what their quarter then booked."""

from datetime import date, timedelta

import pandas as pd
import pytest

from dagster_project.forecast.calibration import calibration_origins, calibration_rows
from dagster_project.forecast.fiscal_quarters import FiscalQuarters, Quarter
from dagster_project.forecast.hazard_queries import chances_of_days, scores_of_days
from dagster_project.forecast.review_queries import booked_deals
from dagster_project.warehouse import Warehouse
from tests.hazard_bench import build_hazards
from tests.synthetic_ledger import Deal, Move, ledger_tables, random_deals, won_deal, write_ledger

AS_OF = date(2025, 8, 1)


def quarters_of(*years: int) -> FiscalQuarters:
    """Calendar quarters; bookings are final ten days after their end. Numbered year × 4 + quarter."""
    starts = [date(year, month, 1) for year in years for month in (1, 4, 7, 10)]
    ends = [*(start - timedelta(days=1) for start in starts[1:]), date(years[-1], 12, 31)]
    return FiscalQuarters(
        tuple(
            Quarter(
                start.year * 4 + (start.month + 2) // 3,
                f"{start.year}Q{(start.month + 2) // 3}",
                start,
                end,
                end + timedelta(days=10),
            )
            for start, end in zip(starts, ends, strict=True)
        )
    )


def test_three_days_of_each_of_the_last_eight_final_quarters_are_looked_at() -> None:
    origins = calibration_origins(quarters_of(2022, 2023, 2024, 2025), date(2025, 8, 1))
    assert len(origins) == 24
    assert origins[-3:] == [date(2025, 4, 16), date(2025, 5, 16), date(2025, 6, 15)]
    assert origins[0] == date(2023, 9, 30) - timedelta(days=75)


def test_a_quarter_whose_bookings_are_not_final_is_left_out() -> None:
    origins = calibration_origins(quarters_of(2024, 2025), date(2025, 7, 9))
    assert max(origins) == date(2025, 3, 31) - timedelta(days=15)


def ten_deals() -> pd.DataFrame:
    """Chances of 0.05 to 0.95 on 16 May 2025, each for an amount of 100."""
    chance = [0.05 + place / 10 for place in range(10)]
    return pd.DataFrame(
        {
            "as_of": pd.Timestamp(2025, 5, 16),
            "deal_key": [f"d{place}" for place in range(10)],
            "p_win_this_quarter": chance,
            "expected_this_quarter": [100 * value for value in chance],
        }
    )


def booked(**won: int | None) -> pd.DataFrame:
    """Deals that the second quarter of 2025 booked, in thousandths."""
    return pd.DataFrame(
        {"quarter_number": 2025 * 4 + 2, "deal_key": list(won), "thousandths": list(won.values())}
    )


def rows_of(scores: pd.DataFrame, wins: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(calibration_rows(scores, wins, quarters_of(2025), AS_OF, "EUR"))


def test_a_decile_compares_the_sum_of_chances_with_the_wins() -> None:
    rows = rows_of(ten_deals(), booked(d9=120_000, d2=80_000, elsewhere=999_000))
    middle = rows[rows["horizon"] == "this quarter, middle"].set_index("decile")
    assert list(middle.index) == list(range(1, 11))
    assert middle["actual_wins"].to_dict() == {number: int(number in (3, 10)) for number in range(1, 11)}
    assert middle.loc[10, ["deals", "predicted_wins", "predicted_amount", "actual_amount"]].tolist() == (
        pytest.approx([1, 0.95, 95.0, 120.0])
    )
    assert middle.loc[3, "actual_amount"] == 80.0
    assert middle.loc[1, ["p_from", "p_to"]].tolist() == pytest.approx([0.05, 0.05])


def test_a_deal_won_without_an_amount_is_a_win_and_no_amount() -> None:
    rows = rows_of(ten_deals(), booked(d9=None)).query("horizon == 'this quarter'")
    assert (rows["actual_wins"].sum(), rows["actual_amount"].sum()) == (1, 0.0)


def test_a_deal_without_an_expected_amount_counts_by_its_chance_alone() -> None:
    scores = ten_deals()
    scores.loc[9, "expected_this_quarter"] = float("nan")
    rows = rows_of(scores, booked()).query("horizon == 'this quarter'")
    assert rows["predicted_wins"].sum() == pytest.approx(5.0)
    assert rows["predicted_amount"].sum() == pytest.approx(405.0)


def test_a_win_counts_for_the_quarter_of_the_day_alone() -> None:
    # Open on 16 May, booked in the third quarter: not won by the end of the second.
    late = booked(d9=100_000).assign(quarter_number=2025 * 4 + 3)
    assert rows_of(ten_deals(), late)["actual_wins"].sum() == 0


def test_all_horizons_together_and_each_alone() -> None:
    early = ten_deals().assign(as_of=pd.Timestamp(2025, 4, 16))
    rows = rows_of(pd.concat([ten_deals(), early]), booked(d9=1000))
    assert rows.groupby("horizon")["deals"].sum().to_dict() == {
        "this quarter": 20,
        "this quarter, early": 10,
        "this quarter, middle": 10,
    }
    assert rows[rows["horizon"] == "this quarter"]["actual_wins"].sum() == 2


def test_fewer_than_ten_deals_fill_fewer_deciles() -> None:
    rows = rows_of(ten_deals().head(3), booked())
    assert rows[rows["horizon"] == "this quarter"]["decile"].tolist() == [1, 4, 7]


def test_without_scores_there_is_nothing_to_compare() -> None:
    assert rows_of(ten_deals().head(0), booked()).empty


def test_what_a_quarter_booked_is_what_was_known_when_it_was_final(tmp_path: object) -> None:
    march = date(2025, 3, 20)
    deals = [
        won_deal("a1", date(2025, 1, 6), march, 10.0),
        # Reopened before the quarter was final, and reopened after it was.
        Deal(
            "a2", (*won_deal("a2", date(2025, 1, 6), march, 20.0).moves, Move(date(2025, 4, 8), "proposal"))
        ),
        Deal(
            "a3", (*won_deal("a3", date(2025, 1, 6), march, 30.0).moves, Move(date(2025, 4, 20), "proposal"))
        ),
        # Won in the quarter, but entered only after it was final.
        Deal("a4", (Move(date(2025, 4, 20), "won", "won", 40.0, march),)),
    ]
    warehouse = write_ledger(tmp_path / "warehouse.duckdb", ledger_tables(deals, AS_OF))
    found = booked_deals(warehouse, [quarters_of(2025)[0]], "close_date")
    assert dict(zip(found["deal_key"], found["thousandths"], strict=True)) == {"a1": 10_000, "a3": 30_000}


def test_in_a_business_whose_law_does_not_change_chances_hold(tmp_path: object) -> None:
    last = date(2025, 12, 31)
    path = tmp_path / "warehouse.duckdb"
    warehouse: Warehouse = build_hazards(
        write_ledger(path, ledger_tables(random_deals(date(2023, 6, 5), last, 12, 3), last))
    )
    quarters = quarters_of(2023, 2024, 2025)
    origins = [day for day in calibration_origins(quarters, last) if day >= date(2025, 1, 1)]
    of_2025 = [quarter for quarter in quarters.quarters if quarter.starts_on >= date(2025, 1, 1)][:3]
    scores = chances_of_days(warehouse, origins, 10_000)
    assert len(scores) == len(scores_of_days(warehouse, origins))
    sample = chances_of_days(warehouse, origins, len(scores) // 4)
    assert 0.15 < len(sample) / len(scores) < 0.35
    assert set(sample["deal_key"]) < set(scores["deal_key"])
    rows = pd.DataFrame(
        calibration_rows(scores, booked_deals(warehouse, of_2025, "close_date"), quarters, last, "EUR")
    ).query("horizon == 'this quarter'")
    # Nine days of about 130 open deals: some 300 wins, of which a deal that is open on several days repeats.
    assert rows["deals"].sum() == len(scores)
    assert 0.75 < rows["actual_wins"].sum() / rows["predicted_wins"].sum() < 1.3
    shares = rows["actual_wins"] / rows["deals"]
    assert shares.iloc[-3:].mean() > 2 * shares.iloc[:3].mean()
