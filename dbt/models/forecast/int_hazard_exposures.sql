-- How much of a week's hazard falls on each step, week and quarter after every week's end.
with context as (
  select as_of from {{ ref('stg_run_context') }}
),

days as (
  {{ days_asked(ref('dim_date'), 'asked.date_day = asked.week_end_on and asked.date_day <= (select as_of from context)') }}
),

final as (
  {{ hazard_exposures('days', ref('dim_date'), ref('int_calendar_index')) }}
)

select
  as_of,
  cast(step_number as int) as step_number,
  week_ahead,
  cast(quarter_offset as int) as quarter_offset,
  cast(win_exposure as double) as win_exposure,
  cast(plain_exposure as double) as plain_exposure,
  cast(business_days as double) as business_days
from final
