{%- set amounts = waterfall_entries().split(', ') + ['increased', 'decreased', 'fx'] + waterfall_exits().split(', ') %}
with context as (
  select * from {{ ref('stg_run_context') }}
),

sums as (
  select * from {{ ref('int_waterfall_sums') }}
),

periods as (
  select * from {{ ref('int_periods') }}
  where period_type in ('week', 'month', 'quarter')
),

sources as (
  select
    min(full_from_on) as first_full_from_on,
    max(full_from_on) as all_full_from_on
  from {{ ref('int_source_history') }}
),

scopes as (
  select 'rolling' as scope
  union all
  select 'period' as scope
),

modes as (
  select 'net' as mode
  union all
  select 'gross' as mode
),

-- gross has the balances of net; and every period has its total, also one in which nothing happened
cells as (
  select mode, scope, period_type, period, segment_type, segment
  from sums
  union
  select 'gross' as mode, scope, period_type, period, segment_type, segment
  from sums
  union
  select
    modes.mode,
    scopes.scope,
    periods.period_type,
    periods.period,
    'total' as segment_type,
    'all' as segment
  from periods
  cross join scopes
  cross join modes
),

joined as (
  select
    cells.mode,
    cells.scope,
    cells.period_type,
    cells.period,
    cells.segment_type,
    cells.segment,
    coalesce(balances.start_amount, 0) as start_amount,
    coalesce(balances.end_amount, 0) as end_amount,
    {%- for column in ['deals_start', 'deals_end', 'deals_end_without_amount', 'deals_end_without_rate'] %}
    coalesce(balances.{{ column }}, 0) as {{ column }},
    {%- endfor %}
    {%- for bucket in amounts %}
    coalesce(sums.{{ bucket }}_amount, 0) as {{ bucket }}_amount,
    coalesce(sums.deals_{{ bucket }}, 0) as deals_{{ bucket }},
    {%- endfor %}
    -- deals moved, but what they are worth is not known of any: that is not zero
    coalesce(balances.rows_priced, 0) + coalesce(sums.rows_priced, 0) > 0 or (balances.segment is null and sums.segment is null) as is_told_in_amounts
  from cells
  left join sums
    on cells.mode = sums.mode
      and cells.scope = sums.scope
      and cells.period_type = sums.period_type
      and cells.period = sums.period
      and cells.segment_type = sums.segment_type
      and cells.segment = sums.segment
  left join sums as balances
    on balances.mode = 'net'
      and cells.scope = balances.scope
      and cells.period_type = balances.period_type
      and cells.period = balances.period
      and cells.segment_type = balances.segment_type
      and cells.segment = balances.segment
),

final as (
  select
    joined.mode,
    joined.scope,
    joined.period_type,
    joined.period,
    periods.period_start,
    periods.period_end,
    periods.is_complete_period,
    case
      when periods.period_start >= sources.all_full_from_on then 'full'
      when periods.period_start < sources.first_full_from_on then 'left_truncated'
      else 'partial'
    end as history_status,
    joined.segment_type,
    joined.segment,
    {%- for bucket in ['start'] + amounts + ['end'] %}
    case when joined.is_told_in_amounts then cast(joined.{{ bucket }}_amount as decimal(38, 3)) end as {{ bucket }}_amount,
    {%- endfor %}
    {%- for bucket in ['start'] + amounts + ['end'] %}
    joined.deals_{{ bucket }},
    {%- endfor %}
    joined.deals_end_without_amount,
    joined.deals_end_without_rate,
    context.as_of,
    context.definition_version
  from joined
  cross join context
  cross join sources
  inner join periods
    on joined.period_type = periods.period_type
      and joined.period = periods.period
)

select * from final
