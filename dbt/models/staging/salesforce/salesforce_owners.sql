-- Users; their role is the team. Salesforce does not tell when a user left, only that. Names of roles and managers are
-- today's: their change does not touch the user.
with users as (
  {{ landed_salesforce('owners', ['Name', 'Email', 'IsActive', 'CreatedDate', 'UserRoleId', 'ManagerId']) }}
),

managers as (
  {{ landed_salesforce_newest('owners', ['Name']) }}
),

roles as (
  {{ landed_salesforce_newest('roles', ['Name']) }}
),

final as (
  select
    users.source_relation,
    users.extracted_at,
    users.batch_id,
    cast(null as bigint) as delivery_order,
    users.record_id as owner_id,
    users.p.name as owner_name,
    users.p.email as email,
    roles.p.name as team,
    managers.p.name as manager,
    cast(null as {{ dbt.type_string() }}) as region,
    cast({{ try_type('users.p.createddate', 'timestamp') }} as date) as started_on,
    cast(null as date) as ended_on,
    {{ try_type('users.p.isactive', 'boolean') }} as is_active
  from users
  left join roles
    on users.source_relation = roles.source_relation
      and users.p.userroleid = roles.record_id
  left join managers
    on users.source_relation = managers.source_relation
      and users.p.managerid = managers.record_id
)

select * from final
