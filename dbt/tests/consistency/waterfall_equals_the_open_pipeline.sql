-- What: end of the rolling waterfall = mart_pipeline_daily of that day = a query of the deals open at its end; in the
-- scope period, the same query with its close-date window.
-- Why: three routes to one number.
-- Window: the end of every period, as_of for the running one. Each deal's amount is rounded to a thousandth.
with waterfall as (
  select
    scope,
    period_type,
    period,
    period_start,
    period_end,
    least(period_end, as_of) as through_day,
    coalesce(end_amount, 0) as end_amount,
    deals_end
  from {{ ref('mart_pipeline_waterfall') }}
  where mode = 'net' and segment_type = 'total'
),

daily as (
  select
    period_start as date_day,
    sum(coalesce(open_amount, 0)) as open_amount,
    sum(deals_open) as deals_open
  from {{ ref('mart_pipeline_daily') }}
  group by period_start
),

as_of_query as (
  select
    waterfall.scope,
    waterfall.period_type,
    waterfall.period,
    count(*) as deals_open,
    sum(coalesce(versions.amount_native * fx_rates.rate, 0)) as open_amount
  from waterfall
  inner join {{ ref('fct_deal_versions') }} as versions
    on versions.valid_from_date <= waterfall.through_day
      and (versions.valid_to_date is null or versions.valid_to_date > waterfall.through_day)
  left join {{ ref('int_fx_rates') }} as fx_rates
    on versions.currency = fx_rates.currency
      and waterfall.through_day >= fx_rates.valid_from_date
      and waterfall.through_day < fx_rates.valid_to_date
  where versions.status = 'open'
    and not versions.is_deleted
    and versions.excluded_by is null
    and (waterfall.scope = 'rolling' or versions.close_date between waterfall.period_start and waterfall.period_end)
  group by waterfall.scope, waterfall.period_type, waterfall.period
)

select
  waterfall.scope,
  waterfall.period_type,
  waterfall.period,
  waterfall.end_amount,
  as_of_query.open_amount,
  daily.open_amount as daily_amount
from waterfall
left join as_of_query
  on waterfall.scope = as_of_query.scope
    and waterfall.period_type = as_of_query.period_type
    and waterfall.period = as_of_query.period
left join daily
  on waterfall.scope = 'rolling'
    and waterfall.through_day = daily.date_day
where waterfall.deals_end <> coalesce(as_of_query.deals_open, 0)
  or abs(waterfall.end_amount - coalesce(as_of_query.open_amount, 0)) > 0.001 * waterfall.deals_end + 0.001
  or (daily.date_day is not null and waterfall.deals_end <> daily.deals_open)
  or abs(waterfall.end_amount - coalesce(daily.open_amount, waterfall.end_amount)) > 0.001 * waterfall.deals_end + 0.01
