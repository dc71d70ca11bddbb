-- When the figures of a month or quarter are frozen: the evening of its end, and that of the last business day of grace.
with context as (
  select * from {{ ref('stg_run_context') }}
),

calendar as (
  select
    date_day,
    business_day_index
  from {{ ref('dim_date') }}
),

final as (
  select
    periods.period_type,
    periods.period,
    periods.period_start,
    periods.period_end,
    periods.is_complete_period,
    min(later.date_day) as frozen_on,
    coalesce(min(later.date_day) <= min(context.as_of), false) as is_frozen
  from {{ ref('int_periods') }} as periods
  cross join context
  inner join calendar on periods.period_end = calendar.date_day
  left join calendar as later
    on later.business_day_index = calendar.business_day_index + context.grace_business_days
      and later.date_day >= periods.period_end
  where periods.period_type in ('month', 'quarter')
  group by periods.period_type, periods.period, periods.period_start, periods.period_end, periods.is_complete_period
)

select * from final
