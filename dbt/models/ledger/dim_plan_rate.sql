-- The rate that the plan has for each currency and fiscal month: its own, else that of its quarter, else of its year.
with context as (
  select
    currency,
    as_of
  from {{ ref('stg_run_context') }}
),

-- a plan that was revised counts with its newest rate known by as_of
ranked as (
  select
    rates.period,
    rates.currency,
    rates.rate,
    row_number() over (
      partition by rates.period, rates.currency
      order by rates.recorded_on desc nulls last, rates.rate
    ) as newest_first
  from {{ ref('stg_plan_rates') }} as rates
  cross join context
  where rates.rate > 0
    and (rates.recorded_on is null or rates.recorded_on <= context.as_of)
),

told as (
  select
    ranked.period,
    ranked.currency,
    ranked.rate
  from ranked
  inner join context on ranked.currency <> context.currency
  where ranked.newest_first = 1
),

months as (
  select
    month_label,
    quarter_label,
    year_label,
    month_start_on,
    month_end_on
  from {{ ref('dim_date') }}
  group by month_label, quarter_label, year_label, month_start_on, month_end_on
),

final as (
  select
    currencies.currency,
    months.month_start_on as valid_from_date,
    {{ add_days('months.month_end_on', 1) }} as valid_to_date,
    coalesce(of_month.period, of_quarter.period, of_year.period) as period,
    coalesce(of_month.rate, of_quarter.rate, of_year.rate) as plan_rate
  from months
  cross join (select currency from told group by currency) as currencies
  {%- for kind in ['month', 'quarter', 'year'] %}
  left join told as of_{{ kind }}
    on currencies.currency = of_{{ kind }}.currency
      and months.{{ kind }}_label = of_{{ kind }}.period
  {%- endfor %}
  where coalesce(of_month.rate, of_quarter.rate, of_year.rate) is not null
  union all
  -- where there is a plan, the reporting currency is planned at 1
  select
    context.currency,
    date '1900-01-01' as valid_from_date,
    date '9999-12-31' as valid_to_date,
    'all' as period,
    cast(1 as double) as plan_rate
  from context
  where exists (select 1 from ranked)
)

select * from final
