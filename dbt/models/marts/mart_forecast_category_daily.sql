-- Running sums of signed changes, told on the days on which there is something. Owners are told on chosen evenings only: with
-- two or three deals in a row, every day of every owner would be the deals themselves day by day (measured: 60 % of the rows).
{%- set segments = [('total', "'all'"), ('owner', 'owner'), ('team', 'team'), ('pipeline', 'pipeline')] %}
with context as (
  select * from {{ ref('stg_run_context') }}
),

changes as (
  select * from {{ ref('int_forecast_category_changes') }}
),

calendar as (
  select
    date_day,
    day_label,
    quarter_label,
    quarter_index,
    quarter_start_on,
    quarter_end_on,
    is_complete,
    date_day in (week_end_on, quarter_start_on, quarter_end_on)
    or {{ days_between('date_day', 'context.as_of') }} < 35 as is_evening_of_owners
  from {{ ref('dim_date') }}
  cross join context
),

-- the days of mart_pipeline_daily
first_days as (
  select min(period_start) as first_day
  from {{ ref('mart_pipeline_daily') }}
),

by_day as (
  {%- for segment_type, segment in segments %}
  select
    '{{ segment_type }}' as segment_type,
    {{ 'changes.' if segment_type != 'total' }}{{ segment }} as segment,
    changes.forecast_category,
    changes.target_quarter,
    changes.currency,
    greatest(changes.changed_on, first_days.first_day) as from_day,
    sum(changes.sign) as deals,
    sum(changes.deals_without_amount) as deals_without_amount,
    sum(changes.amount) as amount
  from changes
  cross join first_days
  group by
    {{ 'changes.' ~ segment ~ ',' if segment_type != 'total' }}
    changes.forecast_category,
    changes.target_quarter,
    changes.currency,
    greatest(changes.changed_on, first_days.first_day)
  {%- if not loop.last %}
  union all
  {%- endif %}
  {%- endfor %}
),

running as (
  select
    segment_type,
    segment,
    forecast_category,
    target_quarter,
    currency,
    from_day,
    lead(from_day) over cell_days as to_day,
    sum(deals) over cell_days as deals,
    sum(deals_without_amount) over cell_days as deals_without_amount,
    sum(amount) over cell_days as amount
  from by_day
  window cell_days as (partition by segment_type, segment, forecast_category, target_quarter, currency order by from_day)
),

-- two narrow joins instead of a wide one: owners are most of the cells, and have few of the days
placed as (
  {%- for is_told_on, segment_types in [('calendar.is_complete', "<> 'owner'"), ('calendar.is_complete and calendar.is_evening_of_owners', "= 'owner'")] %}
  select
    running.*,
    days.date_day,
    days.day_label,
    days.quarter_index
  from (
    select
      running.*,
      coalesce(running.to_day, {{ add_days('context.as_of', 1) }}) as until_day
    from running
    cross join context
    where running.deals > 0
      and running.segment_type {{ segment_types }}
  ) as running
  inner join (
    select calendar.*
    from calendar
    where {{ is_told_on }}
  ) as days
    on days.date_day >= running.from_day
      and days.date_day < running.until_day
  {%- if not loop.last %}
  union all
  {%- endif %}
  {%- endfor %}
),

days as (
  select
    placed.segment_type,
    placed.segment,
    placed.forecast_category,
    placed.target_quarter,
    placed.date_day,
    placed.day_label,
    placed.quarter_index,
    cast(sum(placed.deals) as bigint) as deals,
    cast(sum(placed.deals_without_amount) as bigint) as deals_without_amount,
    cast(sum(case when placed.currency <> '(reporting)' and rates.rate is null then placed.deals - placed.deals_without_amount else 0 end) as bigint) as deals_without_rate,
    coalesce(sum(cast(placed.amount * case when placed.currency = '(reporting)' then 1 else rates.rate end as decimal(28, 9))), 0) as amount
  from placed
  left join {{ ref('int_fx_rates') }} as rates
    on placed.currency = rates.currency
      and placed.date_day >= rates.valid_from_date
      and placed.date_day < rates.valid_to_date
  group by
    placed.segment_type,
    placed.segment,
    placed.forecast_category,
    placed.target_quarter,
    placed.date_day,
    placed.day_label,
    placed.quarter_index
),

quarters as (
  select
    quarter_label,
    quarter_index,
    quarter_start_on,
    quarter_end_on
  from calendar
  group by quarter_label, quarter_index, quarter_start_on, quarter_end_on
),

sources as (
  select
    min(full_from_on) as first_full_from_on,
    max(full_from_on) as all_full_from_on
  from {{ ref('int_source_history') }}
),

final as (
  select
    'day' as period_type,
    days.day_label as period,
    days.date_day as period_start,
    days.date_day as period_end,
    true as is_complete_period,
    case
      when days.date_day >= sources.all_full_from_on then 'full'
      when days.date_day < sources.first_full_from_on then 'left_truncated'
      else 'partial'
    end as history_status,
    days.segment_type,
    days.segment,
    days.target_quarter,
    quarters.quarter_start_on as target_quarter_start,
    quarters.quarter_end_on as target_quarter_end,
    cast(quarters.quarter_index - days.quarter_index as int) as target_quarter_offset,
    days.forecast_category,
    case days.forecast_category
      when 'closed' then 1
      when 'commit' then 2
      when 'most_likely' then 3
      when 'best_case' then 4
      when 'pipeline' then 5
      when 'omitted' then 6
      else 7
    end as category_order,
    days.deals,
    days.deals_without_amount,
    days.deals_without_rate,
    case
      when days.deals > days.deals_without_amount + days.deals_without_rate then cast(days.amount as decimal(38, 3))
    end as category_amount,
    context.definition_version
  from days
  cross join context
  cross join sources
  left join quarters on days.target_quarter = quarters.quarter_label
)

select * from final
