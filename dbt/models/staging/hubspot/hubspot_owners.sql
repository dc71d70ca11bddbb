{%- set shape = {'firstName': '', 'lastName': '', 'email': '', 'archived': '', 'teams': [{'name': '', 'primary': ''}]} %}
with told as (
  select
    source_relation,
    record_id,
    extracted_at,
    batch_id,
    {{ json_shape('payload', shape) }} as p
  from {{ source('landing_hubspot', 'owners') }}
),

teams_told as (
  {{ each_item('told', ['source_relation', 'record_id', 'batch_id'], 'p.teams') }}
),

primary_teams as (
  select
    source_relation,
    record_id,
    batch_id,
    {{ first_value_by('item.name', ["case when item.primary = 'true' then 0 else 1 end", 'item_number'], 'item.name is not null') }} as team
  from teams_told
  group by source_relation, record_id, batch_id
),

final as (
  select
    told.source_relation,
    told.extracted_at,
    told.batch_id,
    cast(null as bigint) as delivery_order,
    told.record_id as owner_id,
    coalesce(nullif(trim(concat(coalesce(told.p.firstname, ''), ' ', coalesce(told.p.lastname, ''))), ''), told.p.email) as owner_name,
    told.p.email as email,
    primary_teams.team,
    cast(null as {{ dbt.type_string() }}) as manager,
    cast(null as {{ dbt.type_string() }}) as region,
    cast(null as date) as started_on,
    cast(null as date) as ended_on,
    coalesce(told.p.archived <> 'true', true) as is_active
  from told
  left join primary_teams
    on told.source_relation = primary_teams.source_relation
      and told.record_id = primary_teams.record_id
      and told.batch_id = primary_teams.batch_id
)

select * from final
