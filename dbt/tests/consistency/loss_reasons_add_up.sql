-- What: the lost deals of each breakdown of mart_loss_reasons against those of mart_sales_performance; and the lost amounts
-- of the segments of each type against the total of their period.
-- Why: a reason without a class, a deal without a stage or a spelling of its own would drop losses in silence, and so would
-- a product that is on the lines of lost deals alone.
-- Window: all periods and segments that both marts have; no months by segment.
with broken_down as (
  select
    period_type,
    period,
    segment_type,
    segment,
    breakdown,
    sum(deals_lost) as deals_lost,
    min(lost_share_denominator) as lost_share_denominator,
    min(deals_won) as deals_won
  from {{ ref('mart_loss_reasons') }}
  group by period_type, period, segment_type, segment, breakdown
),

performance as (
  select
    period_type,
    period,
    segment_type,
    segment,
    deals_won,
    deals_lost
  from {{ ref('mart_sales_performance') }}
  where deals_lost + deals_won > 0
    and segment_type <> 'account'
    and (period_type <> 'month' or segment_type = 'total')
),

amounts as (
  select
    period_type,
    period,
    segment_type,
    sum(coalesce(lost_amount, 0)) as lost_amount
  from {{ ref('mart_loss_reasons') }}
  where breakdown = 'total'
  group by period_type, period, segment_type
)

select
  amounts.period_type,
  amounts.period,
  amounts.segment_type,
  'amounts of all segments' as segment,
  'total' as breakdown
from amounts
inner join amounts as totals
  on amounts.period_type = totals.period_type
    and amounts.period = totals.period
    and totals.segment_type = 'total'
where amounts.lost_amount <> totals.lost_amount
union all
select
  performance.period_type,
  performance.period,
  performance.segment_type,
  performance.segment,
  broken_down.breakdown
from performance
left join broken_down
  on performance.period_type = broken_down.period_type
    and performance.period = broken_down.period
    and performance.segment_type = broken_down.segment_type
    and performance.segment = broken_down.segment
where broken_down.breakdown is null
  or broken_down.deals_lost <> performance.deals_lost
  or broken_down.lost_share_denominator <> performance.deals_lost
  or (broken_down.breakdown = 'total' and broken_down.deals_won <> performance.deals_won)
