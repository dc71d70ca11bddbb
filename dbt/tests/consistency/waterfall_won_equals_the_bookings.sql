-- What: what the waterfall counts as won in a period are the won deals of mart_sales_performance in that period, deal by
-- deal and to the cent; and their sum is its won_amount where nothing below applies.
-- Why: the bar "won" is read as bookings.
-- Which basis: the waterfall dates a win by the day on which the deal was closed, bookings by dates.won; both agree where
-- that is the same period. The waterfall keeps what was true at the period's end, bookings what is true at as_of: deals
-- that changed after the period (reopened, deleted, re-priced) are left out here.
-- Window: all months and quarters.
with periods as (
  select
    periods.period_type,
    periods.period,
    periods.period_start,
    least(periods.period_end, context.as_of) as through_day
  from {{ ref('int_periods') }} as periods
  cross join {{ ref('stg_run_context') }} as context
  where periods.period_type in ('month', 'quarter')
),

newest as (
  select
    states.deal_key,
    states.valid_from_date as unchanged_since,
    states.closed_on
  from {{ ref('fct_pipeline_states') }} as states
  cross join {{ ref('stg_run_context') }} as context
  where states.valid_to_date > context.as_of
),

deals as (
  select
    deals.deal_key,
    deals.status,
    deals.is_deleted,
    deals.won_on,
    deals.closed_on,
    coalesce(deals.amount_base, 0) as amount,
    newest.unchanged_since
  from {{ ref('fct_deals') }} as deals
  inner join newest
    on deals.deal_key = newest.deal_key
      -- a closed deal that was moved to another pipeline counts as closed anew in fct_deals
      and deals.closed_on = newest.closed_on
),

booked as (
  select
    periods.period_type,
    periods.period,
    deals.deal_key,
    deals.amount
  from deals
  inner join periods
    on deals.won_on between periods.period_start and periods.through_day
      and deals.closed_on between periods.period_start and periods.through_day
      and deals.unchanged_since <= periods.through_day
  where deals.status = 'won' and not deals.is_deleted
),

moved as (
  select
    movements.period_type,
    movements.period,
    movements.deal_key,
    -movements.amount as amount
  from {{ ref('fct_pipeline_movements') }} as movements
  inner join periods
    on movements.period_type = periods.period_type
      and movements.period = periods.period
  left join deals on movements.deal_key = deals.deal_key
  where movements.mode = 'net'
    and movements.scope = 'rolling'
    and movements.bucket = 'won'
    and movements.in_total
    -- unknown to fct_deals: merged away since
    and deals.unchanged_since <= periods.through_day
    and deals.won_on between periods.period_start and periods.through_day
),

-- sums, in periods all of whose won deals are the same in both
sums as (
  select
    waterfall.period_type,
    waterfall.period,
    -waterfall.won_amount as moved_amount,
    performance.won_amount as booked_amount
  from {{ ref('mart_pipeline_waterfall') }} as waterfall
  inner join {{ ref('mart_sales_performance') }} as performance
    on waterfall.period_type = performance.period_type
      and waterfall.period = performance.period
      and performance.segment_type = 'total'
  inner join (select period_type, period, count(*) as deals from booked group by period_type, period) as alike
    on waterfall.period_type = alike.period_type
      and waterfall.period = alike.period
  where waterfall.mode = 'net'
    and waterfall.scope = 'rolling'
    and waterfall.segment_type = 'total'
    and waterfall.deals_won = alike.deals
    and performance.deals_won = alike.deals
)

select
  coalesce(booked.period_type, moved.period_type) as period_type,
  coalesce(booked.period, moved.period) as period,
  coalesce(booked.deal_key, moved.deal_key) as deal_key
from booked
full outer join moved
  on booked.period_type = moved.period_type
    and booked.period = moved.period
    and booked.deal_key = moved.deal_key
where booked.deal_key is null
  or moved.deal_key is null
  or booked.amount <> moved.amount
union all
select
  period_type,
  period,
  'all' as deal_key
from sums
where coalesce(moved_amount, 0) <> coalesce(booked_amount, 0)
