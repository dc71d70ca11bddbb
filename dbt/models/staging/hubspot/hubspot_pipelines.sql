-- The newest name of each pipeline; one that is deleted keeps its last.
with told as (
  select
    source_relation,
    record_id as pipeline_id,
    extracted_at,
    batch_id,
    {{ json_shape('payload', {'label': ''}) }}.label as label
  from {{ source('landing_hubspot', 'pipelines') }}
),

final as (
  select
    source_relation,
    pipeline_id,
    {{ last_value_by('label', ['extracted_at', 'batch_id'], 'label is not null') }} as pipeline_name,
    cast(null as {{ dbt.type_string() }}) as pipeline_type
  from told
  group by source_relation, pipeline_id
)

select * from final
