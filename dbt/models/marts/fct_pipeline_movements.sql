-- The waterfall bar by bar: each deal's moves, one row per bucket.
with moves as (
  select * from {{ ref('int_pipeline_moves') }}
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
    parts.from_stage_key,
    parts.to_stage_key,
    from_stages.stage as from_stage,
    to_stages.stage as to_stage,
    parts.from_owner_key,
    parts.to_owner_key,
    context.definition_version
  from parts
  cross join {{ ref('stg_run_context') }} as context
  left join {{ ref('dim_stage') }} as from_stages on parts.from_stage_key = from_stages.stage_key
  left join {{ ref('dim_stage') }} as to_stages on parts.to_stage_key = to_stages.stage_key
)

select * from final
