{%- set shape = {'metrics': {'exclude': {'*': ['']}}} %}
with context as (
  select
    run_id,
    {{ json_shape('settings_json', shape) }} as p
  from {{ ref('stg_run_context') }}
),

by_rule as (
  {{ each_entry('context', ['run_id'], 'p.metrics.exclude') }}
),

lists as (
  select
    entry_key as rule,
    entry_value as names
  from by_rule
),

written as (
  select
    rule,
    trim(item) as written_name
  from ({{ each_item('lists', ['rule'], 'names') }}) as items
  group by rule, trim(item)
),

members as (
  select 'pipelines' as rule, pipeline_key as member_key, pipeline_id as member_id, pipeline as member_name
  from {{ ref('dim_pipeline') }}
  union all
  select 'owners' as rule, owner_key as member_key, owner_id as member_id, owner as member_name
  from {{ ref('dim_owner') }}
  union all
  select
    'deal_types' as rule,
    {{ deal_type_key('deal_type') }} as member_key,
    {{ deal_type_key('deal_type') }} as member_id,
    min(coalesce(nullif(trim(deal_type), ''), '(none)')) as member_name
  from {{ ref('int_deals') }}
  group by {{ deal_type_key('deal_type') }}
),

final as (
  select
    written.rule,
    written.written_name,
    members.member_key,
    members.member_name
  from written
  left join members
    on written.rule = members.rule
      and lower(written.written_name) in (lower(trim(members.member_id)), lower(trim(members.member_name)))
)

select * from final
