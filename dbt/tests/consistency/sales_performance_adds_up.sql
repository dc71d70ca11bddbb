-- What: the segments of each type add up to the total of their period, and the periods of each type to "all".
-- Why: a fan-out by segment or a deal in two periods would be booked twice.
-- Window: all periods; counts of products may overlap (line items), their amounts may not.
with cells as (
  select
    period_type,
    period,
    segment_type,
    segment,
    deals_created,
    deals_won,
    deals_lost,
    coalesce(won_amount, 0) as won_amount
  from {{ ref('mart_sales_performance') }}
),

totals as (
  select * from cells
  where segment_type = 'total'
),

by_segment as (
  select
    period_type,
    period,
    segment_type,
    sum(deals_created) as deals_created,
    sum(deals_won) as deals_won,
    sum(deals_lost) as deals_lost,
    sum(won_amount) as won_amount
  from cells
  group by period_type, period, segment_type
),

by_period as (
  select
    period_type,
    sum(deals_created) as deals_created,
    sum(deals_won) as deals_won,
    sum(deals_lost) as deals_lost,
    sum(won_amount) as won_amount
  from totals
  group by period_type
),

final as (
  select
    by_segment.period_type,
    by_segment.period,
    by_segment.segment_type,
    totals.won_amount as expected_won_amount,
    by_segment.won_amount
  from by_segment
  inner join totals
    on by_segment.period_type = totals.period_type
      and by_segment.period = totals.period
  where by_segment.won_amount <> totals.won_amount
    or (
      by_segment.segment_type <> 'product'
      and (
        by_segment.deals_created <> totals.deals_created
        or by_segment.deals_won <> totals.deals_won
        or by_segment.deals_lost <> totals.deals_lost
      )
    )
  union all
  select
    by_period.period_type,
    'all' as period,
    'total' as segment_type,
    totals.won_amount as expected_won_amount,
    by_period.won_amount
  from by_period
  inner join totals on totals.period_type = 'all'
  where by_period.won_amount <> totals.won_amount
    or by_period.deals_created <> totals.deals_created
    or by_period.deals_won <> totals.deals_won
    or by_period.deals_lost <> totals.deals_lost
)

select * from final
