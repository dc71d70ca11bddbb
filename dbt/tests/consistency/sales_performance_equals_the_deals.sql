-- What: wins, losses and bookings of the period "all" against the deals themselves, without periods and segments.
-- Why: a period label or a segment that is missing would drop deals in silence.
-- Window: everything up to as_of.
with deals as (
  select
    count(case when deals.status = 'won' and deals.won_on <= deals.as_of then 1 end) as deals_won,
    count(case when deals.status = 'lost' and deals.lost_on <= deals.as_of then 1 end) as deals_lost,
    sum(case when deals.status = 'won' and deals.won_on <= deals.as_of then deals.amount_base end) as won_amount
  from {{ ref('fct_deals') }} as deals
  where not deals.is_deleted and deals.excluded_by is null
),

performance as (
  select
    sum(deals_won) as deals_won,
    sum(deals_lost) as deals_lost,
    sum(won_amount) as won_amount
  from {{ ref('mart_sales_performance') }}
  where period_type = 'all' and segment_type = 'total'
)

select
  deals.deals_won,
  performance.deals_won as deals_won_in_mart,
  deals.deals_lost,
  performance.deals_lost as deals_lost_in_mart,
  deals.won_amount,
  performance.won_amount as won_amount_in_mart
from deals
cross join performance
where deals.deals_won <> coalesce(performance.deals_won, 0)
  or deals.deals_lost <> coalesce(performance.deals_lost, 0)
  or coalesce(deals.won_amount, 0) <> coalesce(performance.won_amount, 0)
