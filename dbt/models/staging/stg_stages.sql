-- Stages as the source or the settings tell them; the business's own stage map wins over the source.
with stages as (
  {{ landed_newest('stages', ['stage_id', 'name', 'pipeline', 'order', 'outcome', 'probability', 'forecast_category', 'valid_from']) }}
),

stage_map as (
  {{ landed_newest('stage_map', ['stage', 'pipeline', 'outcome', 'forecast_category', 'order']) }}
),

final as (
  select
    stages.source_relation,
    stages.p.pipeline as pipeline_id,
    coalesce(stages.p.stage_id, stages.p.name) as stage_id,
    coalesce(stages.p.name, stages.p.stage_id) as stage_name,
    cast(coalesce({{ try_type('stage_map.p.order', 'double') }}, {{ try_type('stages.p.order', 'double') }}) as double) as display_order,
    lower(coalesce(stage_map.p.outcome, stages.p.outcome, 'open')) as outcome,
    {{ try_type('stages.p.probability', 'double') }} as probability,
    coalesce(stage_map.p.forecast_category, stages.p.forecast_category) as forecast_category,
    coalesce({{ try_type('stages.p.valid_from', 'timestamp') }}, timestamp '1900-01-01 00:00:00') as valid_from_at
  from stages
  left join stage_map
    on coalesce(stages.p.stage_id, stages.p.name) = stage_map.p.stage
      and coalesce(stages.p.pipeline, '') = coalesce(stage_map.p.pipeline, stages.p.pipeline, '')
)

select * from final
