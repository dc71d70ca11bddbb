-- Owners from the owners file, and those that only deals or their splits name.
with named as (
  select
    source_relation,
    owner_id
  from {{ ref('int_deal_states') }} as states
  inner join (select deal_sk, source_relation from {{ ref('int_deals') }}) as deals on states.deal_sk = deals.deal_sk
  where owner_id is not null
  group by source_relation, owner_id
  union
  select
    splits.source_relation,
    coalesce(owners.member_id, splits.owner_id) as owner_id
  from {{ ref('stg_deal_splits') }} as splits
  left join {{ ref('int_lookup') }} as owners
    on owners.entity = 'owner'
      and splits.source_relation = owners.source_relation
      and lower(trim(splits.owner_id)) = owners.lookup_text
  where splits.owner_id is not null
),

told as (
  select * from {{ ref('stg_owners') }}
),

teams as (
  select
    team,
    max(manager) as manager,
    max(region) as region
  from {{ ref('stg_teams') }}
  group by team
),

members as (
  select
    coalesce(told.source_relation, named.source_relation) as source_relation,
    coalesce(told.owner_id, named.owner_id) as owner_id,
    coalesce(told.owner_name, told.owner_id, named.owner_id) as owner,
    told.email,
    told.team,
    told.manager,
    told.region,
    told.started_on,
    told.ended_on,
    told.is_active,
    told.owner_id is null as is_only_in_deals
  from told
  full outer join named
    on told.source_relation = named.source_relation
      and told.owner_id = named.owner_id
),

final as (
  select
    {{ hash_key(['members.source_relation', 'members.owner_id']) }} as owner_key,
    members.source_relation,
    members.owner_id,
    members.owner,
    members.email,
    case
      when coalesce(members.team, members.manager) is null then {{ none_key() }}
      else {{ hash_key(['members.source_relation', 'coalesce(members.team, members.manager)']) }}
    end as team_key,
    -- where only a manager is told, the manager's people are the team
    coalesce(members.team, members.manager, '(none)') as team,
    coalesce(members.manager, teams.manager) as manager,
    coalesce(members.region, teams.region) as region,
    members.started_on,
    members.ended_on,
    coalesce(members.is_active, members.ended_on is null or members.ended_on > context.as_of) as is_active,
    members.is_only_in_deals
  from members
  cross join (select as_of from {{ ref('stg_run_context') }}) as context
  left join teams on members.team = teams.team
  union all
  select
    {{ none_key() }} as owner_key,
    '(none)' as source_relation,
    '(none)' as owner_id,
    '(none)' as owner,
    null as email,
    {{ none_key() }} as team_key,
    '(none)' as team,
    null as manager,
    null as region,
    null as started_on,
    null as ended_on,
    false as is_active,
    false as is_only_in_deals
)

select * from final
