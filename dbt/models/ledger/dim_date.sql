-- The calendar of the business: fiscal periods by joining it, never by truncating dates.
with context as (
  select * from {{ ref('stg_run_context') }}
),

bounds as (
  select
    context.as_of,
    context.fiscal_year_start_month,
    context.week_start,
    {{ shift_months("date_trunc('year', least(coalesce(ledger.first_day, context.as_of), coalesce(context.history_start, context.as_of)))", -12) }} as first_day,
    {{ add_days(shift_months("date_trunc('year', greatest(context.as_of, coalesce(ledger.last_day, context.as_of)))", 48), -1) }} as last_day
  from context
  cross join (
    select
      min(first_day) as first_day,
      max(last_day) as last_day
    from (
      select
        min(business_date) as first_day,
        max(business_date) as last_day
      from {{ ref('int_deal_states') }}
      union all
      -- dates before 1970 are mistakes, and no reason for a calendar of centuries
      select
        cast(min(least(created_at, closed_at)) as date) as first_day,
        cast(null as date) as last_day
      from (
        select
          coalesce(created_at, cast(close_date as timestamp)) as created_at,
          coalesce(cast(close_date as timestamp), created_at) as closed_at
        from {{ ref('int_deals') }}
      ) as dates
      where least(created_at, closed_at) >= timestamp '1970-01-01 00:00:00'
    ) as ends
  ) as ledger
),

days as (
  {{ calendar_spine('bounds.first_day', 'bounds.last_day', 'bounds') }}
),

holidays as (
  select
    holiday_date,
    min(holiday_name) as holiday_name
  from {{ ref('stg_holidays') }}
  group by holiday_date
),

parts as (
  select
    days.calendar_day,
    bounds.as_of,
    bounds.fiscal_year_start_month,
    {{ iso_weekday('days.calendar_day') }} as iso_weekday,
    (({{ iso_weekday('days.calendar_day') }} - bounds.week_start + 7) % 7) as days_into_week,
    cast(extract(year from days.calendar_day) as int) as calendar_year,
    cast(extract(month from days.calendar_day) as int) as calendar_month,
    ((cast(extract(month from days.calendar_day) as int) - bounds.fiscal_year_start_month + 12) % 12) as months_into_fiscal_year,
    holidays.holiday_name
  from days
  cross join bounds
  left join holidays on days.calendar_day = holidays.holiday_date
),

fiscal as (
  select
    *,
    -- a fiscal year that starts in another month than January is named by the year in which it ends
    calendar_year + case when fiscal_year_start_month > 1 and calendar_month >= fiscal_year_start_month then 1 else 0 end as fiscal_year,
    cast(floor(months_into_fiscal_year / 3) as int) + 1 as fiscal_quarter_number,
    cast(date_trunc('month', calendar_day) as date) as month_start_on,
    {{ add_days('calendar_day', '-days_into_week') }} as week_start_on
  from parts
),

bounded as (
  select
    *,
    {{ shift_months('month_start_on', '-(months_into_fiscal_year % 3)') }} as quarter_start_on,
    {{ shift_months('month_start_on', '-months_into_fiscal_year') }} as year_start_on,
    cast(fiscal_year * 4 + fiscal_quarter_number as bigint) as quarter_index,
    iso_weekday <= 5 and holiday_name is null as is_business_day
  from fiscal
),

as_of_day as (
  select
    quarter_index,
    week_start_on
  from bounded
  where calendar_day = as_of
),

numbered as (
  select
    bounded.*,
    bounded.quarter_index - as_of_day.quarter_index as quarter_offset,
    {{ days_between('as_of_day.week_start_on', 'bounded.week_start_on') }} / 7 as week_offset,
    sum(case when bounded.is_business_day then 1 else 0 end) over (order by bounded.calendar_day) as business_day_index,
    sum(case when bounded.is_business_day then 1 else 0 end) over (partition by bounded.quarter_index order by bounded.calendar_day) as business_day_of_quarter,
    {{ days_between('bounded.quarter_start_on', 'bounded.calendar_day') }} + 1 as day_of_quarter
  from bounded
  cross join as_of_day
),

final as (
  select
    calendar_day as date_day,
    cast(calendar_day as {{ dbt.type_string() }}) as day_label,
    {{ iso_week_label(add_days('week_start_on', 3)) }} as week_label,
    concat(cast(calendar_year as {{ dbt.type_string() }}), '-', lpad(cast(calendar_month as {{ dbt.type_string() }}), 2, '0')) as month_label,
    concat(cast(fiscal_year as {{ dbt.type_string() }}), 'Q', cast(fiscal_quarter_number as {{ dbt.type_string() }})) as quarter_label,
    cast(fiscal_year as {{ dbt.type_string() }}) as year_label,
    cast(fiscal_year as int) as fiscal_year,
    fiscal_quarter_number,
    cast(months_into_fiscal_year + 1 as int) as fiscal_month_number,
    iso_weekday,
    week_start_on,
    {{ add_days('week_start_on', 6) }} as week_end_on,
    month_start_on,
    {{ add_days(shift_months('month_start_on', 1), -1) }} as month_end_on,
    quarter_start_on,
    {{ add_days(shift_months('quarter_start_on', 3), -1) }} as quarter_end_on,
    year_start_on,
    {{ add_days(shift_months('year_start_on', 12), -1) }} as year_end_on,
    cast(day_of_quarter as int) as day_of_quarter,
    cast(business_day_of_quarter as int) as business_day_of_quarter,
    cast(business_day_index as bigint) as business_day_index,
    quarter_index,
    cast(quarter_offset as int) as quarter_offset,
    cast(week_offset as int) as week_offset,
    is_business_day,
    holiday_name is not null as is_holiday,
    holiday_name,
    calendar_day <= as_of as is_complete,
    least(
      {{ add_days(shift_months('quarter_start_on', -3), 'day_of_quarter - 1') }},
      {{ add_days('quarter_start_on', -1) }}
    ) as same_day_last_quarter
  from numbered
)

select * from final
