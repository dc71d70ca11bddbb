-- Users; their role is the team. Salesforce does not tell when a user left, only that.
with rows_landed as (
  {{ landed_salesforce('owners', ['Name', 'Email', 'IsActive', 'CreatedDate', 'UserRole', 'Manager']) }}
),

final as (
  select
    source_relation,
    extracted_at,
    batch_id,
    cast(null as bigint) as delivery_order,
    record_id as owner_id,
    p.name as owner_name,
    p.email as email,
    {{ json_struct('p.userrole', ['Name']) }}.name as team,
    {{ json_struct('p.manager', ['Name']) }}.name as manager,
    cast(null as {{ dbt.type_string() }}) as region,
    cast({{ try_type('p.createddate', 'timestamp') }} as date) as started_on,
    cast(null as date) as ended_on,
    {{ try_type('p.isactive', 'boolean') }} as is_active
  from rows_landed
)

select * from final
