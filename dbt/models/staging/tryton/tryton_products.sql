-- A product's family is the first of its categories; its list price is in the company's currency.
with landed_rows as (
  select
    source_relation,
    record_id,
    extracted_at,
    batch_id,
    payload
  from {{ source('landing_tryton', 'products') }}
),

final as (
  select
    source_relation,
    extracted_at,
    batch_id,
    cast(null as bigint) as delivery_order,
    record_id as product_id,
    {{ json_at('payload', ['name']) }} as product_name,
    {{ json_at('payload', ['template.', 'categories.', 0, 'name']) }} as family,
    {{ try_type(json_at('payload', ['list_price_used', 'decimal']), 'decimal(20, 3)') }} as list_price,
    cast(null as {{ dbt.type_string() }}) as currency
  from landed_rows
)

select * from final
