{%- set shape = {'fields': {'*': {'*': ''}}} %}
with context as (
  select
    run_id,
    {{ json_shape('settings_json', shape) }} as p
  from {{ ref('stg_run_context') }}
),

by_source as (
  {{ each_entry('context', ['run_id'], 'p.fields') }}
),

sources as (
  select
    entry_key as source_relation,
    entry_value as fields
  from by_source
),

final as (
  select
    source_relation,
    entry_key as field,
    entry_value as property
  from ({{ each_entry('sources', ['source_relation'], 'fields') }}) as entries
)

select * from final
