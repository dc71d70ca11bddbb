-- Rates as they were known on the days on which figures are frozen. The first rate told for a day counts as known from that
-- day, as with a first load; a revision from the day it was recorded.
with context as (
  select * from {{ ref('stg_run_context') }}
),

told as (
  select
    upper(rates.currency) as currency,
    rates.rate_date,
    rates.rate,
    case
      when row_number() over told_so_far = 1 then rates.rate_date
      else coalesce(rates.recorded_on, rates.rate_date)
    end as known_on,
    row_number() over told_so_far as revision
  from {{ ref('stg_fx_rates') }} as rates
  inner join context on upper(rates.currency) <> context.currency
  where rates.rate > 0 and rates.rate_date is not null
  window told_so_far as (partition by upper(rates.currency), rates.rate_date order by rates.recorded_on nulls first, rates.rate desc)
),

known as (
  select
    days.known_day,
    told.currency,
    told.rate_date,
    told.rate,
    row_number() over (partition by days.known_day, told.currency, told.rate_date order by told.revision desc) as newest_first
  from {{ ref('int_frozen_days') }} as days
  inner join told on told.known_on <= days.known_day
),

final as (
  select
    known_day,
    currency,
    rate,
    rate_date as valid_from_date,
    coalesce(lead(rate_date) over (partition by known_day, currency order by rate_date), date '9999-12-31') as valid_to_date
  from known
  where newest_first = 1
  union all
  select
    days.known_day,
    context.currency,
    cast(1 as double) as rate,
    date '1900-01-01' as valid_from_date,
    date '9999-12-31' as valid_to_date
  from {{ ref('int_frozen_days') }} as days
  cross join context
)

select * from final
