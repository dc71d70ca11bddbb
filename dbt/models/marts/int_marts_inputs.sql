-- What the marts that are replaced by deal and period are built from, as digests. Their rows belong to a deal and to a
-- period, so there are two doors, and whatever changes comes in through one of them:
--   a deal (its rows in fct_pipeline_states): its history, other names of its owner, team, pipeline or region, a new as_of
--     that reaches what was dated ahead, settings that date or credit a closing;
--   a period: the days it lasts, as far as as_of has come in it, and the rates up to there. One that is over by as_of
--     stays as it is until a rate or the calendar is revised.
-- When something that all rows have in common changes, every mart is built whole.
with context as (
  select as_of from {{ ref('stg_run_context') }}
),

periods as (
  select
    periods.period,
    periods.period_start,
    least(periods.period_end, context.as_of) as through_day,
    periods.period_end
  from {{ ref('int_periods') }} as periods
  cross join context
  where periods.period_type in ('week', 'month', 'quarter')
),

rates as (
  select
    valid_from_date,
    {{ row_hash(['currency', 'valid_from_date', 'rate']) }} as rate_hash
  from {{ ref('int_fx_rates') }}
),

final as (
  select
    'deal' as input,
    deal_key as item,
    cast(null as {{ dbt.type_timestamp() }}) as item_at,
    {{ bag_digest('state_hash') }} as digest
  from (
    select
      deal_key,
      {{ row_hash(columns_of('fct_pipeline_states')) }} as state_hash
    from {{ ref('fct_pipeline_states') }}
  ) as states
  group by deal_key
  union all
  -- a rate holds until the next one, so its end needs no digest
  select
    'period' as input,
    periods.period as item,
    null as item_at,
    concat(periods.period_start, ' ', periods.through_day, ' ', periods.period_end, ' ', {{ bag_digest('rates.rate_hash') }}) as digest
  from periods
  inner join rates on periods.through_day >= rates.valid_from_date
  group by periods.period, periods.period_start, periods.through_day, periods.period_end
  union all
  select
    'stages' as input,
    'all' as item,
    null as item_at,
    {{ bag_digest('stage_hash') }} as digest
  from (
    select {{ row_hash(['stage_key', 'stage']) }} as stage_hash
    from {{ ref('dim_stage') }}
  ) as stages
  union all
  select input, item, item_at, digest
  from {{ ref('int_ledger_inputs') }}
  where input = 'settings'
  union all
  select
    'code' as input,
    'all' as item,
    null as item_at,
    concat('{{ code_digest() }}', ' ', version()) as digest
)

select * from final
