-- Owners are employees; a supervisor is told by id and named by the same list.
with landed_rows as (
  select
    source_relation,
    record_id,
    extracted_at,
    batch_id,
    {{ json_struct('payload', ['rec_name', 'supervisor', 'start_date', 'end_date', 'active']) }} as p
  from {{ source('landing_tryton', 'owners') }}
),

final as (
  select
    employees.source_relation,
    employees.extracted_at,
    employees.batch_id,
    cast(null as bigint) as delivery_order,
    employees.record_id as owner_id,
    employees.p.rec_name as owner_name,
    cast(null as {{ dbt.type_string() }}) as email,
    cast(null as {{ dbt.type_string() }}) as team,
    supervisors.p.rec_name as manager,
    cast(null as {{ dbt.type_string() }}) as region,
    {{ typed_date(typed_parts('employees.p.start_date')) }} as started_on,
    {{ typed_date(typed_parts('employees.p.end_date')) }} as ended_on,
    {{ try_type('employees.p.active', 'boolean') }} as is_active
  from landed_rows as employees
  left join landed_rows as supervisors
    on employees.source_relation = supervisors.source_relation
      and employees.batch_id = supervisors.batch_id
      and employees.p.supervisor = supervisors.record_id
)

select * from final
