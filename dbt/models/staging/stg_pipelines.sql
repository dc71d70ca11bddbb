with rows_landed as (
  {{ landed_newest('pipelines', ['pipeline_id', 'name', 'type']) }}
),

final as (
  select distinct
    rows_landed.source_relation,
    rows_landed.p.pipeline_id as pipeline_id,
    rows_landed.p.name as pipeline_name,
    rows_landed.p.type as pipeline_type
  from rows_landed
  {{ union_vendors('pipelines', ['source_relation', 'pipeline_id', 'pipeline_name', 'pipeline_type']) }}
)

select * from final
