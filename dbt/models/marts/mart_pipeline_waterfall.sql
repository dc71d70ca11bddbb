{%- set entries = ['created', 'reopened', 'restored', 'transferred_in', 'pulled_in', 'pushed_in'] %}
{%- set exits = ['won', 'lost', 'closed_other', 'deleted_or_merged', 'transferred_out', 'pushed_out', 'pulled_out', 'closed_outside_scope'] %}
{%- set moves_within = ['increased', 'decreased', 'fx'] %}
{%- set amounts = entries + moves_within + exits %}
with context as (
  select * from {{ ref('stg_run_context') }}
),

moves as (
  select * from {{ ref('int_pipeline_moves') }}
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

sums as (
  {%- for segment_type, segment in [
    ('total', "'all'"), ('owner', 'owner'), ('team', 'team'), ('pipeline', 'pipeline'), ('region', 'region')
  ] %}
  select
    mode,
    scope,
    period_type,
    period,
    '{{ segment_type }}' as segment_type,
    {{ segment }} as segment,
    sum(start_amount) as start_amount,
    sum(end_amount) as end_amount,
    count(case when is_in_start then 1 end) as deals_start,
    count(case when is_in_end then 1 end) as deals_end,
    count(case when is_end_amount_missing then 1 end) as deals_end_without_amount,
    count(case when is_end_rate_missing then 1 end) as deals_end_without_rate,
    count(case when is_priced then 1 end) as rows_priced,
    {%- for bucket in entries %}
    sum(case when entry_bucket = '{{ bucket }}' then entry_amount else 0 end) as {{ bucket }}_amount,
    count(case when entry_bucket = '{{ bucket }}' then 1 end) as deals_{{ bucket }},
    {%- endfor %}
    {%- for bucket in exits %}
    sum(case when exit_bucket = '{{ bucket }}' then exit_amount else 0 end) as {{ bucket }}_amount,
    count(case when exit_bucket = '{{ bucket }}' then 1 end) as deals_{{ bucket }},
    {%- endfor %}
    sum(case when change_amount > 0 then change_amount else 0 end) as increased_amount,
    count(case when change_amount > 0 then 1 end) as deals_increased,
    sum(case when change_amount < 0 then change_amount else 0 end) as decreased_amount,
    count(case when change_amount < 0 then 1 end) as deals_decreased,
    sum(fx_amount) as fx_amount,
    count(case when fx_amount <> 0 then 1 end) as deals_fx
  from moves
  where in_{{ segment_type }}
  group by mode, scope, period_type, period{{ ", " ~ segment if segment_type != 'total' }}
  {%- if not loop.last %}
  union all
  {%- endif %}
  {%- endfor %}
),

scopes as (
  select 'rolling' as scope
  union all
  select 'period' as scope
),

-- every period has its total, also one in which nothing happened; both modes start and end at the same balances
cells as (
  select scope, period_type, period, segment_type, segment
  from sums
  union
  select
    scopes.scope,
    periods.period_type,
    periods.period,
    'total' as segment_type,
    'all' as segment
  from periods
  cross join scopes
),

modes as (
  select 'net' as mode
  union all
  select 'gross' as mode
),

joined as (
  select
    modes.mode,
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
  cross join modes
  left join sums
    on modes.mode = sums.mode
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
