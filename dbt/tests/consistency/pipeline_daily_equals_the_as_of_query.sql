-- What: mart_pipeline_daily (running sums of signed changes) against a query of the open deals on single days.
-- Why: two routes to one number; a change lost or counted twice would shift every later day.
-- Window: the first day, each quarter's first and last day, each month's 15th, and as_of.
with mart as (
  select * from {{ ref('mart_pipeline_daily') }}
),

bounds as (
  select
    min(period_start) as first_day,
    max(period_start) as last_day
  from mart
),

sampled_days as (
  select
    calendar.date_day,
    calendar.quarter_start_on,
    calendar.quarter_end_on
  from {{ ref('dim_date') }} as calendar
  cross join bounds
  where calendar.date_day between bounds.first_day and bounds.last_day
    and (
      calendar.date_day in (bounds.first_day, bounds.last_day, calendar.quarter_start_on, calendar.quarter_end_on)
      or extract(day from calendar.date_day) = 15
    )
),

open_deals as (
  select
    days.date_day,
    versions.stage_key,
    versions.amount_native,
    versions.amount_asof_quality,
    versions.close_date,
    versions.close_date between days.quarter_start_on and days.quarter_end_on as is_in_quarter,
    versions.close_date < days.date_day as is_past_due,
    coalesce(versions.probability, stage_history.probability) as probability,
    fx_rates.rate
  from sampled_days as days
  inner join {{ ref('fct_deal_versions') }} as versions
    on versions.valid_from_date <= days.date_day
      and (versions.valid_to_date is null or versions.valid_to_date > days.date_day)
  left join {{ ref('dim_stage_history') }} as stage_history
    on versions.stage_key = stage_history.stage_key
      and stage_history.valid_from_at <= versions.valid_from_at
      and (stage_history.valid_to_at is null or stage_history.valid_to_at > versions.valid_from_at)
  left join {{ ref('int_fx_rates') }} as fx_rates
    on versions.currency = fx_rates.currency
      and fx_rates.valid_from_date <= days.date_day
      and fx_rates.valid_to_date > days.date_day
  where versions.status = 'open' and not versions.is_deleted and versions.excluded_by is null
),

expected as (
  select
    date_day,
    stage_key,
    count(*) as deals_open,
    sum(case when amount_native is null then 1 else 0 end) as deals_without_amount,
    sum(case when amount_native is not null and rate is null then 1 else 0 end) as deals_without_rate,
    sum(case when close_date is null then 1 else 0 end) as deals_without_close_date,
    sum(amount_native * rate) as open_amount,
    sum(amount_native * rate * probability) as weighted_amount,
    case when count(close_date) > 0 then sum(case when is_in_quarter then 1 else 0 end) end as deals_in_quarter,
    case when count(close_date) > 0 then sum(case when is_past_due then 1 else 0 end) end as deals_past_due,
    sum(case when is_in_quarter then amount_native * rate end) as in_quarter_amount,
    sum(case when is_past_due then amount_native * rate end) as past_due_amount
  from open_deals
  group by date_day, stage_key
),

mart_days as (
  select mart.*
  from mart
  inner join sampled_days on mart.period_start = sampled_days.date_day
),

final as (
  select
    coalesce(mart_days.period_start, expected.date_day) as date_day,
    coalesce(mart_days.stage_key, expected.stage_key) as stage_key
  from mart_days
  full outer join expected
    on mart_days.period_start = expected.date_day
      and mart_days.stage_key = expected.stage_key
  where mart_days.stage_key is null
    -- a day on which nobody was in the stage has a row of zeros in the mart
    {%- for count in ['deals_open', 'deals_without_amount', 'deals_without_rate', 'deals_without_close_date'] %}
    or mart_days.{{ count }} <> coalesce(expected.{{ count }}, 0)
    {%- endfor %}
    {%- for value in ['deals_in_quarter', 'deals_past_due'] %}
    or (expected.stage_key is null and coalesce(mart_days.{{ value }}, -1) <> 0)
    or (expected.stage_key is not null and coalesce(mart_days.{{ value }}, -1) <> coalesce(expected.{{ value }}, -1))
    {%- endfor %}
    {%- for value in ['open_amount', 'weighted_amount'] %}
    or (expected.stage_key is not null and mart_days.{{ value }} is null and expected.{{ value }} is not null)
    or (expected.stage_key is not null and mart_days.{{ value }} is not null and expected.{{ value }} is null)
    or abs(coalesce(mart_days.{{ value }}, 0) - coalesce(expected.{{ value }}, 0)) > 0.01
    {%- endfor %}
    {%- for value in ['in_quarter_amount', 'past_due_amount'] %}
    or abs(coalesce(mart_days.{{ value }}, 0) - coalesce(expected.{{ value }}, 0)) > 0.01
    {%- endfor %}
)

select * from final
