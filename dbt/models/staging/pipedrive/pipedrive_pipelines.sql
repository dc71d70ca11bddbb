with pipelines as (
  {{ pipedrive_newest('pipelines', ['id', 'name']) }}
),

final as (
  select
    source_relation,
    p.id as pipeline_id,
    p.name as pipeline_name,
    cast(null as {{ dbt.type_string() }}) as pipeline_type
  from pipelines
)

select * from final
