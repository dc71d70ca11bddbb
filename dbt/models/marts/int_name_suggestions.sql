-- Names that deals write and no file knows, with the one known name that differs only in case, spaces or punctuation.
{%- set left_out = "' -_./,;:&()+#''\"'" %}
with known as (
  select 'product' as entity, source_relation, '(any)' as scope_id, product as known_name
  from {{ ref('dim_product') }}
  where not is_unknown and product_id <> '(none)'
  union all
  select 'account' as entity, source_relation, '(any)' as scope_id, account as known_name
  from {{ ref('dim_account') }}
  where not is_unknown and account_id <> '(none)'
  union all
  select 'owner' as entity, source_relation, '(any)' as scope_id, owner as known_name
  from {{ ref('dim_owner') }}
  where not is_only_in_deals and owner_id <> '(none)'
  union all
  select 'stage' as entity, source_relation, pipeline_id as scope_id, stage as known_name
  from {{ ref('dim_stage') }}
  where not is_deleted and stage_order is not null
),

unknown as (
  select 'product' as entity, source_relation, '(any)' as scope_id, product_id as written_name
  from {{ ref('dim_product') }}
  where is_unknown
  union all
  select 'account' as entity, source_relation, '(any)' as scope_id, account_id as written_name
  from {{ ref('dim_account') }}
  where is_unknown
  union all
  select 'owner' as entity, source_relation, '(any)' as scope_id, owner_id as written_name
  from {{ ref('dim_owner') }}
  where is_only_in_deals
  union all
  select 'stage' as entity, source_relation, pipeline_id as scope_id, stage_id as written_name
  from {{ ref('dim_stage') }}
  where is_deleted
),

final as (
  select
    unknown.source_relation,
    unknown.entity,
    unknown.written_name,
    -- two candidates are none: a person has to choose
    case when min(known.known_name) = max(known.known_name) then min(known.known_name) end as suggested_name
  from unknown
  left join known
    on unknown.entity = known.entity
      and unknown.source_relation = known.source_relation
      and unknown.scope_id = known.scope_id
      and translate(lower(unknown.written_name), {{ left_out }}, '') = translate(lower(known.known_name), {{ left_out }}, '')
  group by unknown.source_relation, unknown.entity, unknown.written_name
)

select * from final
