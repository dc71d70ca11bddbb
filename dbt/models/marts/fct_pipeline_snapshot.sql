-- Few chosen evenings for BI tools that want rows and not intervals; any other day: pipeline_as_of(day).
with context as (
  select * from {{ ref('stg_run_context') }}
),

evenings as (
  select
    calendar.date_day,
    calendar.date_day = calendar.week_end_on as is_week_end,
    calendar.date_day = calendar.quarter_start_on as is_quarter_start,
    {{ days_between('calendar.date_day', 'context.as_of') }} < 35 as is_recent,
    calendar.quarter_index
  from {{ ref('dim_date') }} as calendar
  cross join context
  where calendar.date_day <= context.as_of
),

final as (
  select
    evenings.date_day as snapshot_on,
    states.deal_key,
    evenings.is_week_end,
    evenings.is_quarter_start,
    evenings.is_recent,
    states.source_relation,
    states.pipeline_key,
    states.stage_key,
    states.owner_key,
    states.owner,
    states.team,
    states.pipeline,
    states.region,
    states.close_date,
    cast(close_days.quarter_index - evenings.quarter_index as int) as close_quarter_offset,
    coalesce(states.close_date < evenings.date_day, false) as is_past_due,
    states.amount_native,
    states.currency,
    cast(states.amount_native * rates.rate as decimal(20, 3)) as open_amount,
    context.definition_version
  from evenings
  cross join context
  inner join {{ ref('fct_pipeline_states') }} as states
    on evenings.date_day >= states.valid_from_date
      and evenings.date_day < states.valid_to_date
  left join {{ ref('dim_date') }} as close_days on states.close_date = close_days.date_day
  left join {{ ref('int_fx_rates') }} as rates
    on states.currency = rates.currency
      and evenings.date_day >= rates.valid_from_date
      and evenings.date_day < rates.valid_to_date
  where states.phase = 'open'
    and (evenings.is_week_end or evenings.is_quarter_start or evenings.is_recent)
)

select * from final
