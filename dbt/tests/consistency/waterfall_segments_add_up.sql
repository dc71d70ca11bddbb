-- What: start, end and won of the owners, teams, pipelines and regions add up to the total; so do both modes' balances.
-- Why: a deal handed over must leave one slice and arrive in another, and is won by one of them only.
-- Window: all periods.
with slices as (
  select
    mode,
    scope,
    period_type,
    period,
    segment_type,
    sum(coalesce(start_amount, 0)) as start_amount,
    sum(coalesce(end_amount, 0)) as end_amount,
    sum(coalesce(won_amount, 0)) as won_amount,
    sum(deals_start) as deals_start,
    sum(deals_end) as deals_end,
    sum(deals_won) as deals_won
  from {{ ref('mart_pipeline_waterfall') }}
  group by mode, scope, period_type, period, segment_type
)

select
  slices.mode,
  slices.scope,
  slices.period_type,
  slices.period,
  slices.segment_type
from slices
inner join slices as totals
  on slices.mode = totals.mode
    and slices.scope = totals.scope
    and slices.period_type = totals.period_type
    and slices.period = totals.period
    and totals.segment_type = 'total'
where slices.start_amount <> totals.start_amount
  or slices.end_amount <> totals.end_amount
  or slices.won_amount <> totals.won_amount
  or slices.deals_start <> totals.deals_start
  or slices.deals_end <> totals.deals_end
  or slices.deals_won <> totals.deals_won
