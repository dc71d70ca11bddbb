-- Stages as the source or the settings tell them; the business's own stage map wins over the source.
with stages_landed as (
  {{ landed_newest('stages', ['stage_id', 'name', 'pipeline', 'order', 'outcome', 'probability', 'forecast_category', 'valid_from']) }}
),

stages as (
  select
    source_relation,
    p.pipeline as pipeline_id,
    coalesce(p.stage_id, p.name) as stage_id,
    coalesce(p.name, p.stage_id) as stage_name,
    {{ try_type('p.order', 'double') }} as display_order,
    p.outcome as outcome,
    {{ try_type('p.probability', 'double') }} as probability,
    p.forecast_category as forecast_category,
    coalesce({{ try_type('p.valid_from', 'timestamp') }}, timestamp '1900-01-01 00:00:00') as valid_from_at
  from stages_landed
  {{ union_vendors('stages', ['source_relation', 'pipeline_id', 'stage_id', 'stage_name', 'display_order', 'outcome', 'probability', 'forecast_category', 'valid_from_at']) }}
),

stage_map as (
  {{ landed_newest('stage_map', ['stage', 'pipeline', 'outcome', 'forecast_category', 'order']) }}
),

final as (
  select
    stages.source_relation,
    stages.pipeline_id,
    stages.stage_id,
    stages.stage_name,
    cast(coalesce({{ try_type('stage_map.p.order', 'double') }}, stages.display_order) as double) as display_order,
    lower(coalesce(stage_map.p.outcome, stages.outcome, 'open')) as outcome,
    stages.probability,
    coalesce(stage_map.p.forecast_category, stages.forecast_category) as forecast_category,
    stages.valid_from_at
  from stages
  left join stage_map
    on stages.stage_id = stage_map.p.stage
      and coalesce(stages.pipeline_id, '') = coalesce(stage_map.p.pipeline, stages.pipeline_id, '')
)

select * from final
