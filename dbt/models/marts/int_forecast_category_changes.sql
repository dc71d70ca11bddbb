-- What each state of a deal adds to its forecast category and target quarter on the day it begins, and takes away on the day
-- it ends. Only states that are there at the end of a day. A win counts from its day to the end of its quarter.
with context as (
  select * from {{ ref('stg_run_context') }}
),

calendar as (
  select
    date_day,
    quarter_label,
    quarter_end_on
  from {{ ref('dim_date') }}
),

stage_categories as (
  select
    stage_key,
    {{ forecast_category('forecast_category') }} as forecast_category,
    valid_from_at,
    valid_to_at
  from {{ ref('dim_stage_history') }}
),

-- closed is what was won: an open deal that says so is placed by its stage
open_states as (
  select
    versions.deal_key,
    owners.owner,
    owners.team,
    pipelines.pipeline,
    coalesce(
      nullif({{ forecast_category('versions.forecast_category') }}, 'closed'),
      nullif(stage_categories.forecast_category, 'closed'),
      '(none)'
    ) as forecast_category,
    coalesce(close_days.quarter_label, '(none)') as target_quarter,
    versions.currency,
    versions.amount_native as amount,
    versions.valid_from_date as from_day,
    versions.valid_to_date as to_day
  from {{ ref('fct_deal_versions') }} as versions
  cross join context
  inner join {{ ref('dim_owner') }} as owners on versions.owner_key = owners.owner_key
  inner join {{ ref('dim_pipeline') }} as pipelines on versions.pipeline_key = pipelines.pipeline_key
  left join stage_categories
    on versions.stage_key = stage_categories.stage_key
      and versions.valid_from_at >= stage_categories.valid_from_at
      and (stage_categories.valid_to_at is null or versions.valid_from_at < stage_categories.valid_to_at)
  left join calendar as close_days on versions.close_date = close_days.date_day
  where versions.status = 'open'
    and not versions.is_deleted
    and versions.excluded_by is null
    and versions.valid_from_date <= context.as_of
    and (versions.valid_to_date is null or versions.valid_to_date > versions.valid_from_date)
),

-- bookings keep the rate of their day
won_states as (
  select
    states.deal_key,
    states.owner,
    states.team,
    states.pipeline,
    'closed' as forecast_category,
    won_days.quarter_label as target_quarter,
    '(reporting)' as currency,
    cast(states.amount_native * rates.rate as decimal(20, 3)) as amount,
    greatest(states.valid_from_date, states.valued_on) as from_day,
    least(states.valid_to_date, {{ add_days('won_days.quarter_end_on', 1) }}) as to_day
  from {{ ref('fct_pipeline_states') }} as states
  cross join context
  inner join calendar as won_days on states.valued_on = won_days.date_day
  left join {{ ref('int_fx_rates') }} as rates
    on states.currency = rates.currency
      and states.valued_on >= rates.valid_from_date
      and states.valued_on < rates.valid_to_date
  where states.phase = 'won'
    and states.valued_on <= context.as_of
    and greatest(states.valid_from_date, states.valued_on) <= won_days.quarter_end_on
    and states.valid_to_date > states.valued_on
),

states as (
  select * from open_states
  union all
  select * from won_states
),

signed as (
  select
    *,
    from_day as changed_on,
    1 as sign
  from states
  union all
  select
    states.*,
    states.to_day as changed_on,
    -1 as sign
  from states
  cross join context
  where states.to_day <= context.as_of
),

final as (
  select
    deal_key,
    changed_on,
    cast(sign as int) as sign,
    owner,
    team,
    pipeline,
    forecast_category,
    target_quarter,
    currency,
    cast(case when amount is null then sign else 0 end as bigint) as deals_without_amount,
    cast(coalesce(amount, 0) * sign as decimal(20, 3)) as amount
  from signed
)

select * from final
