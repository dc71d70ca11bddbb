-- Record types are the pipelines; a deal without one is in the pipeline "default".
with newest as (
  {{ landed_salesforce_newest('pipelines', ['Name']) }}
),

final as (
  select
    source_relation,
    record_id as pipeline_id,
    p.name as pipeline_name,
    cast(null as {{ dbt.type_string() }}) as pipeline_type
  from newest
)

select * from final
