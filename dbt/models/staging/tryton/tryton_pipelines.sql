-- Tryton has one way for all opportunities.
with sources as (
  select source_relation
  from {{ source('landing_tryton', 'stages') }}
  group by source_relation
),

final as (
  select
    source_relation,
    'default' as pipeline_id,
    'Opportunities' as pipeline_name,
    cast(null as {{ dbt.type_string() }}) as pipeline_type
  from sources
)

select * from final
