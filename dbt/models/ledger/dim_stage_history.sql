with final as (
  select
    {{ hash_key(['source_relation', 'pipeline_id', 'stage_id']) }} as stage_key,
    source_relation,
    pipeline_id,
    stage_id,
    stage_name as stage,
    stage_rank as stage_order,
    outcome,
    probability,
    forecast_category,
    valid_from_at,
    valid_to_at
  from {{ ref('int_stage_ranks') }}
)

select * from final
