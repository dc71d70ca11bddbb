-- What each delivery of the owners changed; an owner that only deals name keeps one row, so that every owner has one at
-- every instant. Teams, managers and regions told in the table of teams are those of today.
with teams as (
  select
    team,
    max(manager) as manager,
    max(region) as region
  from {{ ref('stg_teams') }}
  group by team
),

-- of several rows for an owner in one delivery, the one that stg_owners takes
told as (
  select
    source_relation,
    owner_id,
    extracted_at,
    coalesce(owner_name, owner_id) as owner,
    team,
    manager,
    region,
    started_on,
    ended_on,
    is_active
  from (
    select
      *,
      row_number() over (
        partition by source_relation, owner_id, extracted_at
        order by batch_id desc, delivery_order desc
      ) as last_first
    from {{ ref('stg_owner_versions') }}
  ) as numbered
  where last_first = 1
),

compared as (
  select
    *,
    lag(extracted_at) over owner_line is null as is_first,
    {{ row_hash(['owner', 'team', 'manager', 'region', 'started_on', 'ended_on', 'is_active']) }} as state_hash,
    lag({{ row_hash(['owner', 'team', 'manager', 'region', 'started_on', 'ended_on', 'is_active']) }}) over owner_line as last_state_hash
  from told
  window owner_line as (partition by source_relation, owner_id order by extracted_at)
),

-- what was told first is taken to have held before, too
spans as (
  select
    *,
    case when is_first then timestamp '1900-01-01 00:00:00' else extracted_at end as valid_from_at,
    lead(extracted_at) over (partition by source_relation, owner_id order by extracted_at) as valid_to_at
  from compared
  where is_first or state_hash <> last_state_hash
),

final as (
  select
    {{ hash_key(['spans.source_relation', 'spans.owner_id']) }} as owner_key,
    spans.valid_from_at,
    spans.valid_to_at,
    spans.valid_to_at is null as is_newest,
    spans.source_relation,
    spans.owner_id,
    spans.owner,
    case
      when coalesce(spans.team, spans.manager) is null then {{ none_key() }}
      else {{ hash_key(['spans.source_relation', 'coalesce(spans.team, spans.manager)']) }}
    end as team_key,
    coalesce(spans.team, spans.manager, '(none)') as team,
    coalesce(spans.manager, teams.manager) as manager,
    coalesce(spans.region, teams.region) as region,
    spans.started_on,
    spans.ended_on,
    coalesce(
      spans.is_active,
      spans.ended_on is null or spans.ended_on > coalesce({{ business_date('spans.valid_to_at', 'context.time_zone') }}, context.as_of)
    ) as is_active
  from spans
  cross join {{ ref('stg_run_context') }} as context
  left join teams on spans.team = teams.team
  union all
  select
    owner_key,
    timestamp '1900-01-01 00:00:00' as valid_from_at,
    cast(null as timestamp) as valid_to_at,
    true as is_newest,
    source_relation,
    owner_id,
    owner,
    team_key,
    team,
    manager,
    region,
    started_on,
    ended_on,
    is_active
  from {{ ref('dim_owner') }}
  where is_only_in_deals or owner_key = {{ none_key() }}
)

select * from final
