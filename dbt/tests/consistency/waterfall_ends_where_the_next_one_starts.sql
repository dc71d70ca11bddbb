-- What: the rolling waterfall of a period ends where that of the next one starts, slice by slice.
-- Why: two waterfalls side by side are read as one line. The scope period is left out: its window moves on with the period.
-- Window: all periods.
with periods as (
  select
    period_type,
    period,
    lead(period) over (partition by period_type order by period_start) as next_period
  from {{ ref('int_periods') }}
),

slices as (
  select *
  from {{ ref('mart_pipeline_waterfall') }}
  where mode = 'net' and scope = 'rolling'
),

ends as (
  select
    slices.*,
    periods.next_period
  from slices
  inner join periods
    on slices.period_type = periods.period_type
      and slices.period = periods.period
  where periods.next_period is not null
),

starts as (
  select
    slices.*,
    periods.period as period_before
  from slices
  inner join periods
    on slices.period_type = periods.period_type
      and slices.period = periods.next_period
)

select
  coalesce(ends.period_type, starts.period_type) as period_type,
  coalesce(ends.period, starts.period_before) as period,
  coalesce(ends.segment_type, starts.segment_type) as segment_type,
  coalesce(ends.segment, starts.segment) as segment
from ends
full outer join starts
  on ends.period_type = starts.period_type
    and ends.next_period = starts.period
    and ends.segment_type = starts.segment_type
    and ends.segment = starts.segment
where coalesce(ends.end_amount, 0) <> coalesce(starts.start_amount, 0)
  or coalesce(ends.deals_end, 0) <> coalesce(starts.deals_start, 0)
