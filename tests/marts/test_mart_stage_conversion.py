"""Conversion of stages: the cases of the metric contract, worked out by hand."""

from itertools import pairwise
from typing import Any

import pytest

from tests.marts.marts_bench import Marts


def fraction(marts: Marts, pipeline: str, stage: str, metric: str, **key: str) -> tuple[Any, ...]:
    """Numerator, denominator and rate of one row of the mart."""
    where = {
        "variant": "any",
        "horizon": "none",
        "period": "all",
        "segment_type": "total",
        "segment": "all",
    } | key
    where |= {"pipeline_id": pipeline, "stage_id": stage, "metric": metric}
    condition = " and ".join(f"{name} = '{value}'" for name, value in where.items())
    found = marts.query(
        "select conversion_numerator, conversion_denominator, conversion_rate "
        f"from marts.mart_stage_conversion where {condition}"
    )
    assert len(found) <= 1
    return found[0] if found else ()


def cohort(
    marts: Marts, pipeline: str, stage: str, variant: str = "any", horizon: str = "to_date"
) -> tuple[Any, ...]:
    return fraction(marts, pipeline, stage, "stage_conversion_cohort", variant=variant, horizon=horizon)


def following(marts: Marts, pipeline: str, stage: str, **key: str) -> tuple[Any, ...]:
    return fraction(marts, pipeline, stage, "stage_conversion_next", **key)


def to_won(marts: Marts, pipeline: str, stage: str) -> tuple[Any, ...]:
    return fraction(marts, pipeline, stage, "stage_to_won", variant="reached")


def test_skipped_stages_are_reached_but_not_touched(marts: Marts) -> None:
    """T06: lead, then quote, then won."""
    stages = ("lead", "prospect", "opp", "quote", "nego")
    assert [cohort(marts, "t06", stage)[:2] for stage in stages] == [(1, 1), (), (), (1, 1), ()]
    assert [cohort(marts, "t06", stage, "reached")[:2] for stage in stages] == [(1, 1)] * 4 + [()]
    assert [cohort(marts, "t06", stage, "strict")[:2] for stage in stages] == [(1, 1), (), (), (), ()]
    assert [following(marts, "t06", stage)[:2] for stage in stages] == [(1, 1), (), (), (1, 1), ()]
    assert [to_won(marts, "t06", stage)[:2] for stage in stages] == [(1, 1)] * 4 + [()]


def test_a_deal_that_left_a_stage_twice_counts_once(marts: Marts) -> None:
    """T07: opp, quote, back to opp, quote, in one quarter."""
    assert following(marts, "t07", "opp") == (1, 1, 1.0)
    assert cohort(marts, "t07", "opp") == (1, 1, 1.0)


def test_a_step_back_is_on_neither_side_and_nothing_is_not_zero_percent(marts: Marts) -> None:
    """T07 and T45: from quote the deal only went back."""
    assert following(marts, "t07", "quote") == (0, 0, None)
    told = marts.query(
        """
        select deals_backward, rate_null_reason, sample_too_small, rate_low
        from marts.mart_stage_conversion
        where pipeline_id = 't07' and stage_id = 'quote' and metric = 'stage_conversion_next'
          and period = '2026Q1' and segment_type = 'total'
        """
    )
    assert told == [(1, "no_deals", True, None)]


def test_a_move_to_another_pipeline_is_no_conversion(marts: Marts) -> None:
    """T10: prospect in one pipeline, then lead and won in another."""
    assert following(marts, "t10", "prospect") == (0, 0, None)
    switched = marts.query(
        """
        select deals_switched from marts.mart_stage_conversion
        where pipeline_id = 't10' and stage_id = 'prospect' and metric = 'stage_conversion_next'
          and period = 'all' and segment_type = 'total'
        """
    )
    assert switched == [(1,)]
    # the win belongs to the pipeline it was won in
    assert cohort(marts, "t10", "prospect") == (0, 1, 0.0)
    assert cohort(marts, "t10b", "lead") == (1, 1, 1.0)
    assert (to_won(marts, "t10", "lead"), to_won(marts, "t10b", "lead")) == ((), (1, 1, 1.0))


def test_a_mis_drag_undone_within_a_minute_reaches_nothing(marts: Marts) -> None:
    """T15: 36 seconds in nego."""
    assert cohort(marts, "t15", "opp", "reached") == ()
    assert following(marts, "t15", "lead") == (1, 1, 1.0)


def test_mass_changes_are_left_out_and_counted(marts: Marts) -> None:
    """T19: one deal moved on by itself, an administrator moved the other."""
    assert following(marts, "t19", "lead") == (1, 1, 1.0)
    assert cohort(marts, "t19", "lead") == (1, 2, 0.5)
    assert cohort(marts, "t19", "prospect") == (0, 1, 0.0)
    left_out = marts.query(
        """
        select stage_id, metric, deals_left_out
        from marts.mart_stage_conversion
        where pipeline_id = 't19' and period = 'all' and segment_type = 'total' and deals_left_out > 0
          and horizon in ('none', 'to_date') and variant = 'any'
        order by all
        """
    )
    assert left_out == [("lead", "stage_conversion_next", 1), ("prospect", "stage_conversion_cohort", 1)]


def test_a_loss_reaches_no_later_stage(marts: Marts) -> None:
    """T32: lead, prospect, lost."""
    stages = ("lead", "prospect", "opp", "quote", "nego")
    assert [cohort(marts, "t32", stage, "reached")[:2] for stage in stages] == [(1, 1), (0, 1), (), (), ()]
    assert [to_won(marts, "t32", stage)[:2] for stage in stages] == [(0, 1), (0, 1), (), (), ()]


@pytest.mark.parametrize(
    ("horizon", "expected"),
    [("30d", (1, 3)), ("60d", (1, 2)), ("90d", (2, 2)), ("180d", (2, 2)), ("to_date", (2, 3))],
)
def test_a_horizon_counts_only_deals_followed_for_all_of_it(
    marts: Marts, horizon: str, expected: tuple[int, int]
) -> None:
    """Moved on after 20 and 70 days; a third came 50 days ago and is still there."""
    assert cohort(marts, "followed", "prospect", horizon=horizon)[:2] == expected


def test_the_share_of_a_cohort_that_was_followed_stands_beside_its_rate(marts: Marts) -> None:
    told = marts.query(
        """
        select horizon, deals_in_cohort, deals_matured, matured_share
        from marts.mart_stage_conversion
        where pipeline_id = 'followed' and stage_id = 'prospect' and variant = 'any' and period = 'all'
          and metric = 'stage_conversion_cohort' and segment_type = 'total' and horizon in ('30d', '60d')
        order by all
        """
    )
    assert told == [("30d", 3, 3, 1.0), ("60d", 3, 2, pytest.approx(2 / 3))]


def test_an_exit_belongs_to_the_owner_at_the_exit_and_a_cohort_to_the_owner_at_the_entry(
    marts: Marts,
) -> None:
    """Ann opened both deals; one went on under her, Bob lost the other."""
    ann, bob = ({"segment_type": "owner", "segment": name} for name in ("ann", "bob"))
    assert following(marts, "owned", "lead", **ann) == (1, 1, 1.0)
    assert following(marts, "owned", "lead", **bob) == (0, 1, 0.0)
    told = fraction(marts, "owned", "lead", "stage_conversion_cohort", horizon="to_date", **ann)
    assert told == (1, 2, 0.5)


def test_up_and_down_go_by_the_order_of_the_day(marts: Marts) -> None:
    """Demo came before quote until both changed places: then quote to demo is a step forward."""
    assert following(marts, "reordered", "quote") == (1, 1, 1.0)
    assert cohort(marts, "reordered", "quote")[:2] == (1, 2)
    assert following(marts, "reordered", "demo") == (0, 0, None)
    assert cohort(marts, "reordered", "demo")[:2] == (0, 2)


def test_deals_that_were_only_found_in_a_stage_give_no_rate(marts: Marts) -> None:
    told = marts.query(
        """
        select distinct conversion_rate, rate_low, rate_null_reason, deals_left_out
        from marts.mart_stage_conversion
        where pipeline_id = 'found' and period = 'all' and segment_type = 'total'
        """
    )
    assert told == [(None, None, "no_entry_dates", 3)]


def test_owners_and_teams_add_up_to_the_total(marts: Marts) -> None:
    different = marts.query(
        """
        with sums as (
          select metric, horizon, period, stage_key, segment_type, sum(conversion_denominator) as deals
          from marts.mart_stage_conversion
          where (variant = 'any' or metric = 'stage_to_won') and period_type <> 'month'
            and horizon in ('none', '90d', 'to_date')
          group by all
        )
        select *
        from sums as parts
        inner join sums as total using (metric, horizon, period, stage_key)
        where total.segment_type = 'total' and parts.deals <> total.deals
        """
    )
    assert different == []


def test_a_wilson_interval_holds_its_rate_and_narrows_with_more_deals(marts: Marts) -> None:
    rows = marts.query(
        """
        select conversion_denominator, rate_low, conversion_rate, rate_high
        from marts.mart_stage_conversion
        where conversion_numerator * 2 = conversion_denominator and conversion_denominator > 0
        """
    )
    assert len(rows) > 100
    assert all(low <= rate <= high for _, low, rate, high in rows)
    widths = sorted({(size, high - low) for size, low, _, high in rows})
    assert all(later[1] < earlier[1] for earlier, later in pairwise(widths))
