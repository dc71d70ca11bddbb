with used as (
  select
    source_relation,
    pipeline_id
  from {{ ref('dim_stage') }}
  where pipeline_id <> '(none)'
  group by source_relation, pipeline_id
),

named as (
  select
    source_relation,
    pipeline_id,
    max(pipeline_name) as pipeline_name,
    max(pipeline_type) as pipeline_type
  from {{ ref('stg_pipelines') }}
  group by source_relation, pipeline_id
),

final as (
  select
    {{ hash_key(['used.source_relation', 'used.pipeline_id']) }} as pipeline_key,
    used.source_relation,
    used.pipeline_id,
    coalesce(named.pipeline_name, used.pipeline_id) as pipeline,
    named.pipeline_type
  from used
  left join named
    on used.source_relation = named.source_relation
      and used.pipeline_id = named.pipeline_id
  union all
  select
    {{ none_key() }} as pipeline_key,
    '(none)' as source_relation,
    '(none)' as pipeline_id,
    '(none)' as pipeline,
    null as pipeline_type
)

select * from final
