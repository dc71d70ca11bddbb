-- Rates by day, so that the many joins by currency and day are equal joins.
with days as (
  select date_day
  from {{ ref('dim_date') }}
),

final as (
  select
    fx_rates.currency,
    days.date_day,
    fx_rates.rate
  from days
  inner join {{ ref('int_fx_rates') }} as fx_rates
    on days.date_day >= fx_rates.valid_from_date
      and days.date_day < fx_rates.valid_to_date
)

select * from final
