{{ config(
  materialized='by_touched_deal', deal_column='deal_key', touched_by='int_touched_states', touched_periods='int_touched_periods',
  pre_hook='{{ mark_as_under_way() }}'
) }}
-- The waterfall bar by bar: each deal's moves, one row per bucket.
with moves as (
  select * from {{ ref('int_pipeline_moves') }}
  where {{ is_replaced('deal_key', ref('int_touched_states'), ref('int_touched_periods')) }}
),

parts as (
  select
    *,
    entry_bucket as bucket,
    entry_amount as amount
  from moves
  where entry_bucket is not null
  union all
  select
    *,
    'fx' as bucket,
    fx_amount as amount
  from moves
  where fx_amount <> 0
  union all
  select
    *,
    case when change_amount > 0 then 'increased' else 'decreased' end as bucket,
    change_amount as amount
  from moves
  where change_amount <> 0
  union all
  select
    *,
    exit_bucket as bucket,
    exit_amount as amount
  from moves
  where exit_bucket is not null
),

final as (
  select
    parts.mode,
    parts.scope,
    parts.period_type,
    parts.period,
    parts.moved_on,
    parts.deal_key,
    parts.side,
    parts.bucket,
    parts.source_relation,
    cast(parts.amount as decimal(20, 3)) as amount,
    not parts.is_priced as is_amount_unknown,
    parts.in_total,
    parts.in_owner,
    parts.in_team,
    parts.in_pipeline,
    parts.in_region,
    parts.owner,
    parts.team,
    parts.pipeline,
    parts.region,
    parts.from_amount,
    parts.to_amount,
    parts.from_close_date,
    parts.to_close_date,
    from_states.stage_key as from_stage_key,
    to_states.stage_key as to_stage_key,
    from_stages.stage as from_stage,
    to_stages.stage as to_stage,
    from_states.owner_key as from_owner_key,
    to_states.owner_key as to_owner_key,
    context.definition_version
  from parts
  cross join {{ ref('stg_run_context') }} as context
  inner join {{ ref('fct_pipeline_states') }} as to_states
    on parts.deal_key = to_states.deal_key
      and parts.to_state_number = to_states.state_number
  left join {{ ref('fct_pipeline_states') }} as from_states
    on parts.deal_key = from_states.deal_key
      and parts.from_state_number = from_states.state_number
  left join {{ ref('dim_stage') }} as from_stages on from_states.stage_key = from_stages.stage_key
  left join {{ ref('dim_stage') }} as to_stages on to_states.stage_key = to_stages.stage_key
)

select * from final
