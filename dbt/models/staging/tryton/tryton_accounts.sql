-- A party's country is that of its first address.
with landed_rows as (
  select
    source_relation,
    record_id,
    extracted_at,
    batch_id,
    payload
  from {{ source('landing_tryton', 'accounts') }}
),

final as (
  select
    source_relation,
    extracted_at,
    batch_id,
    cast(null as bigint) as delivery_order,
    record_id as account_id,
    {{ json_at('payload', ['rec_name']) }} as account_name,
    cast(null as {{ dbt.type_string() }}) as industry,
    cast(null as {{ dbt.type_string() }}) as region,
    {{ json_at('payload', ['addresses.', 0, 'country.', 'name']) }} as country
  from landed_rows
)

select * from final
