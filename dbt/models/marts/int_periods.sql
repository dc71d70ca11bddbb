-- The periods that marts report on, from the first day of the ledger to as_of.
with context as (
  select as_of from {{ ref('stg_run_context') }}
),

closings as (
  select min(coalesce(won_on, lost_on)) as first_closed_on
  from {{ ref('fct_deals') }}
),

bounds as (
  select
    context.as_of,
    least(
      coalesce(min(history.first_entry_on), context.as_of),
      coalesce(min(closings.first_closed_on), context.as_of)
    ) as first_day
  from context
  cross join closings
  left join {{ ref('int_source_history') }} as history on history.first_entry_on <= context.as_of
  group by context.as_of
),

days as (
  select
    calendar.*,
    bounds.as_of,
    bounds.first_day
  from {{ ref('dim_date') }} as calendar
  cross join bounds
  where calendar.date_day <= bounds.as_of
),

labelled as (
  {%- for period_type in ['week', 'month', 'quarter', 'year'] %}
  select
    '{{ period_type }}' as period_type,
    {{ period_type }}_label as period,
    {{ period_type }}_start_on as period_start,
    {{ period_type }}_end_on as period_end,
    as_of
  from days
  where {{ period_type }}_end_on >= first_day
  group by {{ period_type }}_label, {{ period_type }}_start_on, {{ period_type }}_end_on, as_of
  {%- if not loop.last %}
  union all
  {%- endif %}
  {%- endfor %}
  union all
  select
    'all' as period_type,
    'all' as period,
    first_day as period_start,
    as_of as period_end,
    as_of
  from bounds
),

final as (
  select
    period_type,
    period,
    period_start,
    period_end,
    period_end <= as_of as is_complete_period
  from labelled
)

select * from final
