-- Names people write in deals, found by id first, then by name, then by the aliases beside the configuration.
with members as (
  select 'account' as entity, source_relation, account_id as member_id, account_name as member_name
  from {{ ref('stg_accounts') }}
  union all
  select 'product' as entity, source_relation, product_id as member_id, product_name as member_name
  from {{ ref('stg_products') }}
  union all
  select 'owner' as entity, source_relation, owner_id as member_id, owner_name as member_name
  from {{ ref('stg_owners') }}
),

written as (
  select entity, source_relation, member_id, lower(trim(member_id)) as lookup_text, 1 as preference
  from members
  union all
  select entity, source_relation, member_id, lower(trim(member_name)) as lookup_text, 2 as preference
  from members
  where member_name is not null
),

aliases as (
  select
    written.entity,
    written.source_relation,
    written.member_id,
    lower(trim(aliases.alias)) as lookup_text,
    3 as preference
  from {{ ref('stg_aliases') }} as aliases
  inner join written
    on lower(aliases.entity) = written.entity
      and lower(trim(aliases.canonical_name)) = written.lookup_text
),

ranked as (
  select
    *,
    row_number() over (
      partition by entity, source_relation, lookup_text
      order by preference, member_id
    ) as best_first
  from (
    select * from written
    union all
    select * from aliases
  ) as all_written
),

final as (
  select
    entity,
    source_relation,
    lookup_text,
    member_id
  from ranked
  where best_first = 1
)

select * from final
