-- The evenings whose knowledge is kept: ends of months and quarters, and those plus the business days of grace.
with context as (
  select * from {{ ref('stg_run_context') }}
),

calendar as (
  select * from {{ ref('dim_date') }}
),

ends as (
  select distinct ends_on
  from (
    select month_end_on as ends_on from calendar
    union all
    select quarter_end_on as ends_on from calendar
  ) as period_ends
),

graced as (
  select
    ends.ends_on,
    min(later.date_day) as grace_ends_on
  from ends
  cross join context
  inner join calendar on ends.ends_on = calendar.date_day
  inner join calendar as later
    on later.business_day_index = calendar.business_day_index + context.grace_business_days
      and later.date_day >= ends.ends_on
  group by ends.ends_on
),

final as (
  select ends.ends_on as known_day
  from ends
  cross join context
  where ends.ends_on <= context.as_of
  union
  select graced.grace_ends_on as known_day
  from graced
  cross join context
  where graced.grace_ends_on <= context.as_of
)

select * from final
