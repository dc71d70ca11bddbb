-- The calendar of the business: fiscal periods by joining it, never by truncating dates.
with context as (
  select * from {{ ref('stg_run_context') }}
),

bounds as (
  select
    context.as_of,
    context.fiscal_year_start_month,
    context.fiscal_calendar,
    context.fiscal_year_end,
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
    {{ iso_weekday('days.calendar_day') }} as iso_weekday,
    {{ add_days('days.calendar_day', '-((' ~ iso_weekday('days.calendar_day') ~ ' - bounds.week_start + 7) % 7)') }} as week_start_on,
    cast(extract(year from days.calendar_day) as int) as calendar_year,
    holidays.holiday_name
  from days
  cross join bounds
  left join holidays on days.calendar_day = holidays.holiday_date
),

steps as (
  {%- for step in range(12) %}
  select {{ step }} as step
  {%- if not loop.last %}
  union all
  {%- endif %}
  {%- endfor %}
),

-- a fiscal year that starts in another month than January is named by the year in which it ends
named_years as (
  select distinct
    parts.calendar_year + steps.step - 1 as fiscal_year,
    parts.calendar_year + steps.step - 1 - case when bounds.fiscal_year_start_month > 1 then 1 else 0 end as starts_in,
    lpad(cast(bounds.fiscal_year_start_month as {{ dbt.type_string() }}), 2, '0') as start_month
  from parts
  cross join bounds
  cross join steps
  where steps.step <= 3
),

calendar_years as (
  select
    fiscal_year,
    cast(concat(cast(starts_in as {{ dbt.type_string() }}), '-', start_month, '-01') as date) as month_start_on
  from named_years
),

-- a year of weeks ends with the last whole week of its last month, or with the week that ends nearest to its end
years as (
  select
    calendar_years.fiscal_year,
    bounds.fiscal_calendar,
    case
      when bounds.fiscal_calendar = 'months' then calendar_years.month_start_on
      {%- for year_end, slack in [('last', 0), ('nearest', 3)] %}
      {%- set latest = add_days('calendar_years.month_start_on', slack) %}
      when bounds.fiscal_year_end = '{{ year_end }}' then {{ add_days(latest, '-((' ~ iso_weekday(latest) ~ ' - bounds.week_start + 7) % 7)') }}
      {%- endfor %}
    end as year_start_on
  from calendar_years
  cross join bounds
),

month_starts as (
  select
    years.fiscal_year,
    years.fiscal_calendar,
    steps.step,
    cast(floor(steps.step / 3) as int) + 1 as fiscal_quarter_number,
    case
      when years.fiscal_calendar = 'months' then {{ shift_months('years.year_start_on', 'steps.step') }}
      {%- for pattern, weeks in [('4-4-5', [4, 8]), ('4-5-4', [4, 9]), ('5-4-4', [5, 9])] %}
      when years.fiscal_calendar = '{{ pattern }}'
        then {{ add_days('years.year_start_on', '7 * (13 * cast(floor(steps.step / 3) as int) + case steps.step % 3 when 0 then 0 when 1 then ' ~ weeks[0] ~ ' else ' ~ weeks[1] ~ ' end)') }}
      {%- endfor %}
    end as month_start_on
  from years
  cross join steps
),

-- the 53rd week of a year belongs to its last month
months as (
  select
    *,
    {{ add_days('lead(month_start_on) over (order by fiscal_year, step)', -1) }} as month_end_on,
    cast(fiscal_year * 4 + fiscal_quarter_number as bigint) as quarter_index
  from month_starts
),

quarters as (
  select
    quarter_index,
    min(month_start_on) as quarter_start_on,
    max(month_end_on) as quarter_end_on,
    lag(min(month_start_on)) over (order by quarter_index) as last_quarter_start_on
  from months
  group by quarter_index
),

year_bounds as (
  select
    fiscal_year,
    min(month_start_on) as year_start_on,
    max(month_end_on) as year_end_on
  from months
  group by fiscal_year
),

bounded as (
  select
    parts.*,
    months.fiscal_year,
    months.fiscal_calendar,
    months.fiscal_quarter_number,
    months.step + 1 as fiscal_month_number,
    months.quarter_index,
    months.month_start_on,
    months.month_end_on,
    quarters.quarter_start_on,
    quarters.quarter_end_on,
    quarters.last_quarter_start_on,
    year_bounds.year_start_on,
    year_bounds.year_end_on,
    parts.iso_weekday <= 5 and parts.holiday_name is null as is_business_day
  from parts
  inner join months on parts.calendar_day >= months.month_start_on and parts.calendar_day <= months.month_end_on
  inner join quarters on months.quarter_index = quarters.quarter_index
  inner join year_bounds on months.fiscal_year = year_bounds.fiscal_year
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
    case
      when fiscal_calendar = 'months' then substr(cast(month_start_on as {{ dbt.type_string() }}), 1, 7)
      else concat(cast(fiscal_year as {{ dbt.type_string() }}), '-P', lpad(cast(fiscal_month_number as {{ dbt.type_string() }}), 2, '0'))
    end as month_label,
    concat(cast(fiscal_year as {{ dbt.type_string() }}), 'Q', cast(fiscal_quarter_number as {{ dbt.type_string() }})) as quarter_label,
    cast(fiscal_year as {{ dbt.type_string() }}) as year_label,
    cast(fiscal_year as int) as fiscal_year,
    fiscal_quarter_number,
    cast(fiscal_month_number as int) as fiscal_month_number,
    iso_weekday,
    week_start_on,
    {{ add_days('week_start_on', 6) }} as week_end_on,
    month_start_on,
    month_end_on,
    quarter_start_on,
    quarter_end_on,
    year_start_on,
    year_end_on,
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
      {{ add_days('last_quarter_start_on', 'day_of_quarter - 1') }},
      {{ add_days('quarter_start_on', -1) }}
    ) as same_day_last_quarter
  from numbered
)

select * from final
