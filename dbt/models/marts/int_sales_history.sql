-- From which day on a source's closed deals are the whole story: its oldest deals have had the time to close, and
-- closes are recorded. Before it only quick deals can have closed, so rates and cycles read too well.
with outcomes as (
  select * from {{ ref('int_deal_outcomes') }}
),

firsts as (
  select
    source_relation,
    min(case when not is_import then started_on end) as first_start_on,
    min(case when not is_import then outcome_on end) as first_close_on,
    min(outcome_on) as first_outcome_on,
    {{ quantile('cast(cycle_days as double)', 0.9) }} as cycle_p90_days
  from outcomes
  group by source_relation
),

final as (
  select
    source_relation,
    least(coalesce(first_start_on, first_outcome_on), coalesce(first_outcome_on, first_start_on)) as first_known_on,
    first_outcome_on,
    coalesce(first_close_on, first_outcome_on) as first_close_on,
    cycle_p90_days,
    -- closes may have gone unrecorded until the first one that is: only the day after it is sure
    greatest(
      {{ add_days('coalesce(first_start_on, first_outcome_on)', 'ceil(coalesce(cycle_p90_days, 0))') }},
      {{ add_days('coalesce(first_close_on, first_outcome_on, first_start_on)', 1) }}
    ) as complete_from_on
  from firsts
)

select * from final
