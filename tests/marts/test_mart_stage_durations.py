"""Time in stage: textbook data, lifelines, and the cases of the metric contract."""

import math

import lifelines
import pandas as pd
import pytest

from tests.marts.marts_bench import SIMULATED, Marts
from tests.marts.stage_cases import AS_OF, END, LATE, LATE_FROM, PLACEBO, SIX_MP

QUANTILES = {"p25_days": 0.75, "median_days": 0.5, "p75_days": 0.25, "p90_days": 0.1}
FIGURES = (*QUANTILES, "median_low_days", "median_high_days")


def row(
    marts: Marts, pipeline: str, stage: str, counted_per: str = "visit", period: str = "all"
) -> pd.Series:
    found = marts.frame(
        f"""
        select * from marts.mart_stage_durations
        where pipeline_id = '{pipeline}' and stage_id = '{stage}' and counted_per = '{counted_per}'
          and period = '{period}' and segment_type = 'total'
        """
    )
    assert len(found) == 1
    return found.iloc[0]


def kaplan_meier(
    days: list[float], has_ended: list[bool], seen_from: list[float] | None = None
) -> dict[str, float]:
    """The same figures by lifelines; infinite where a quantile is never reached."""
    # lifelines counts a stay at an age only when it was seen before that age, the mart from that age on
    entry = None if seen_from is None else [max(0.0, age - 1e-9) for age in seen_from]
    fitter = lifelines.KaplanMeierFitter().fit(days, has_ended, entry=entry)
    curve, interval = fitter.survival_function_["KM_estimate"], fitter.confidence_interval_
    figures = {name: first_at_or_below(curve, share_left) for name, share_left in QUANTILES.items()}
    return figures | {
        "median_low_days": first_at_or_below(interval["KM_estimate_lower_0.95"], 0.5),
        "median_high_days": first_at_or_below(interval["KM_estimate_upper_0.95"], 0.5),
    }


def first_at_or_below(curve: pd.Series, share_left: float) -> float:
    """First age at which no more than this share is left; rounded, so that a tenth is a tenth."""
    ages = curve.index[curve.round(9) <= share_left]
    return float(ages[0]) if len(ages) else math.inf


def assert_same(told: pd.Series, expected: dict[str, float]) -> None:
    assert {name: math.inf if pd.isna(told[name]) else told[name] for name in FIGURES} == pytest.approx(
        expected, abs=1e-6
    )


def test_the_textbooks_remission_times_have_the_textbooks_medians(marts: Marts) -> None:
    six_mp, placebo = row(marts, "six_mp", "lead"), row(marts, "placebo", "lead")
    assert (six_mp.median_days, placebo.median_days) == (23, 8)
    # published with 6-MP: 0.857 at 6 weeks, 0.753 at 10, 0.690 at 13, 0.448 at 23: no third quartile
    assert six_mp.p25_days == 13
    assert pd.isna(six_mp.p75_days)
    assert six_mp.null_reason == "p75_not_reached"
    # without censoring the quantiles are those of the 21 values: the 6th, 11th, 16th and 19th
    assert [placebo[name] for name in QUANTILES] == [4, 8, 12, 17]
    assert pd.isna(placebo.null_reason)


@pytest.mark.parametrize(("pipeline", "data"), [("six_mp", SIX_MP), ("placebo", PLACEBO)])
def test_textbook_data_give_what_lifelines_gives(
    marts: Marts, pipeline: str, data: list[tuple[int, bool]]
) -> None:
    days, has_ended = zip(*data, strict=True)
    told = row(marts, pipeline, "lead")
    assert_same(told, kaplan_meier(list(days), list(has_ended)))
    assert (told.visits_completed, told.visits_open) == (sum(has_ended), len(data) - sum(has_ended))


def test_stays_seen_only_from_a_certain_age_on_join_the_ones_at_risk_at_that_age(marts: Marts) -> None:
    ages = [max(0.0, -entered) for entered, _, _ in LATE]
    seen = [(days, ended, age) for (_, days, ended), age in zip(LATE, ages, strict=True) if days >= age]
    days, has_ended, seen_from = (list(part) for part in zip(*seen, strict=True))
    told = row(marts, "late", "lead")
    assert_same(told, kaplan_meier(days, has_ended, seen_from))
    # those who count them from their entry read the long stays of the survivors as typical
    assert kaplan_meier(days, has_ended)["median_days"] > told.median_days


def test_a_source_is_whole_from_its_first_closing_on(marts: Marts) -> None:
    told = marts.query("select full_from_on from marts.int_source_history where source_relation = 'late'")
    assert told == [(LATE_FROM.date(),)]
    assert row(marts, "late", "lead", period="2025Q3").history_status == "left_truncated"
    assert row(marts, "late", "lead", period="2025Q4").history_status == "full"


def test_the_simulated_crm_gives_what_lifelines_gives_from_its_transitions(marts: Marts) -> None:
    transitions = marts.frame(
        f"""
        select deal_key, to_stage_id as stage_id, to_status, transitioned_at as entered_at, business_date
        from ledger.fct_stage_transitions
        where source_relation = '{SIMULATED}' and not is_transient
          and deal_key in (select deal_key from ledger.fct_deals where not is_deleted)
        order by deal_key, transition_number
        """
    )
    (full_from,) = marts.query(
        f"select full_from_on from marts.int_source_history where source_relation = '{SIMULATED}'"
    )[0]
    transitions = transitions[pd.to_datetime(transitions.business_date) <= pd.Timestamp(AS_OF)]
    left_at = transitions.groupby("deal_key").entered_at.shift(-1)
    visits = transitions.assign(
        has_ended=left_at.notna(),
        days=(left_at.fillna(pd.Timestamp(END)) - transitions.entered_at) / pd.Timedelta(days=1),
        seen_from=((pd.Timestamp(full_from) - transitions.entered_at) / pd.Timedelta(days=1)).clip(lower=0),
    )
    visits = visits[(visits.to_status == "open") & (visits.days >= visits.seen_from)]
    stages = dict(
        marts.query(
            "select stage_id, pipeline_id from ledger.dim_stage "
            f"where is_open and source_relation = '{SIMULATED}'"
        )
    )
    assert set(visits.stage_id) == set(stages)
    assert not visits.has_ended.all()
    for stage, stays in visits.groupby("stage_id"):
        told = row(marts, stages[stage], stage)
        assert (told.visits_completed, told.visits_open) == (stays.has_ended.sum(), (~stays.has_ended).sum())
        assert_same(told, kaplan_meier(list(stays.days), list(stays.has_ended), list(stays.seen_from)))
        assert told.completed_mean_days == pytest.approx(stays[stays.has_ended].days.mean())
        assert told.completed_median_days == pytest.approx(stays[stays.has_ended].days.median())


def test_two_visits_count_apart_first_latest_and_added_up(marts: Marts) -> None:
    """T07: opp for a day, quote for a day, opp for a day, then quote."""
    told = {
        counted_per: row(marts, "t07", "opp", counted_per)
        for counted_per in ("visit", "deal_first", "deal_latest", "deal_cumulative")
    }
    assert {name: figures.visits_completed for name, figures in told.items()} == {
        "visit": 2,
        "deal_first": 1,
        "deal_latest": 1,
        "deal_cumulative": 1,
    }
    assert {name: figures.median_days for name, figures in told.items()} == {
        "visit": 1,
        "deal_first": 1,
        "deal_latest": 1,
        "deal_cumulative": 2,
    }
    cumulative = row(marts, "t07", "quote", "deal_cumulative")
    # a day in January, and since 8 January: 128 days to the end of 15 May
    assert (cumulative.visits_completed, cumulative.visits_open, cumulative.longest_days) == (0, 1, 129)


def test_a_skipped_stage_has_no_time(marts: Marts) -> None:
    """T06: lead, then quote, then won."""
    told = marts.query(
        "select stage_id, median_days from marts.mart_stage_durations "
        "where pipeline_id = 't06' and counted_per = 'visit' and period = 'all' and segment_type = 'total' "
        "order by stage_order"
    )
    assert told == [("lead", 10), ("quote", 18)]


def test_a_deal_stuck_for_200_days_makes_the_stage_slower_not_quicker(marts: Marts) -> None:
    """T33: stays of 10 and 20 days are over, one of 200 goes on."""
    told = row(marts, "t33", "lead")
    assert (told.visits_completed, told.visits_open, told.longest_days) == (2, 1, 200)
    # two thirds are left after 10 days, one third after 20
    assert (told.p25_days, told.median_days) == (10, 20)
    assert pd.isna(told.p75_days)
    assert told.null_reason == "p75_not_reached"
    assert (told.completed_mean_days, told.completed_median_days) == (15, 15)


def test_a_mass_change_is_no_exit_and_no_entry(marts: Marts) -> None:
    """T19: of two deals in lead one moved on after 3 days, an administrator moved the other after 4."""
    told = row(marts, "t19", "lead")
    assert (told.visits_completed, told.visits_open, told.visits_ended_by_mass_change) == (1, 0, 1)
    assert told.median_days == 3
    prospect = row(marts, "t19", "prospect")
    assert (prospect.visits_open, prospect.visits_left_out) == (1, 1)


def test_a_mis_drag_undone_within_a_minute_does_not_cut_the_stay(marts: Marts) -> None:
    """T15: lead from 1 to 7 February, with 36 seconds in nego in between."""
    told = row(marts, "t15", "lead")
    assert (told.visits_completed, told.median_days) == (1, 6)
    assert not marts.query(
        "select 1 from marts.mart_stage_durations where pipeline_id = 't15' and stage_id = 'nego'"
    )


def test_deals_that_were_only_found_in_a_stage_have_no_time_there(marts: Marts) -> None:
    told = row(marts, "found", "lead", period="all")
    assert (told.visits_completed, told.visits_open, told.visits_left_out) == (0, 0, 3)
    assert pd.isna(told.median_days)
    assert told.null_reason == "no_entry_dates"


def test_owners_and_teams_add_up_to_the_total(marts: Marts) -> None:
    different = marts.query(
        """
        select period, stage_key
        from marts.mart_stage_durations
        where counted_per = 'visit'
        group by period, stage_key
        having sum(case when segment_type = 'total' then visits_completed + visits_open end)
          <> all (values
            (sum(case when segment_type = 'owner' then visits_completed + visits_open end)),
            (sum(case when segment_type = 'team' then visits_completed + visits_open end)),
            (sum(case when segment_type = 'product' then visits_completed + visits_open end)))
        """
    )
    assert different == []
