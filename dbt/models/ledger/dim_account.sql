-- Accounts from their file, and those that only deals name.
with named as (
  select
    source_relation,
    account_id
  from {{ ref('int_deals') }}
  where account_id is not null
  group by source_relation, account_id
),

told as (
  select * from {{ ref('stg_accounts') }}
),

members as (
  select
    coalesce(told.source_relation, named.source_relation) as source_relation,
    coalesce(told.account_id, named.account_id) as account_id,
    coalesce(told.account_name, told.account_id, named.account_id) as account,
    told.industry,
    told.region,
    told.country,
    told.account_id is null as is_unknown
  from told
  full outer join named
    on told.source_relation = named.source_relation
      and told.account_id = named.account_id
),

final as (
  select
    {{ hash_key(['source_relation', 'account_id']) }} as account_key,
    source_relation,
    account_id,
    account,
    industry,
    region,
    country,
    is_unknown
  from members
  union all
  select
    {{ none_key() }} as account_key,
    '(none)' as source_relation,
    '(none)' as account_id,
    '(none)' as account,
    null as industry,
    null as region,
    null as country,
    false as is_unknown
)

select * from final
