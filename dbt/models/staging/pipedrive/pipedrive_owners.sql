with users as (
  {{ pipedrive_landed('users', ['id', 'name', 'email', 'active_flag', 'is_deleted']) }}
),

final as (
  select
    source_relation,
    extracted_at,
    batch_id,
    cast(null as bigint) as delivery_order,
    p.id as owner_id,
    p.name as owner_name,
    p.email as email,
    cast(null as {{ dbt.type_string() }}) as team,
    cast(null as {{ dbt.type_string() }}) as manager,
    cast(null as {{ dbt.type_string() }}) as region,
    cast(null as date) as started_on,
    cast(null as date) as ended_on,
    p.active_flag = 'true' and coalesce(p.is_deleted, 'false') <> 'true' as is_active
  from users
)

select * from final
