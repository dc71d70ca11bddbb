-- Lines have a product and a quantity, no price. Each night tells all of them: a line that is not among the newest is gone.
with landed_rows as (
  select
    source_relation,
    record_id,
    extracted_at,
    batch_id,
    max(batch_id) over (partition by source_relation) as newest_batch_id,
    {{ json_struct('payload', ['opportunity', 'product', 'quantity']) }} as p
  from {{ source('landing_tryton', 'line_items') }}
),

final as (
  select
    source_relation,
    extracted_at,
    batch_id,
    cast(null as bigint) as delivery_order,
    record_id as line_item_id,
    p.opportunity as deal_id,
    p.product as product_id,
    {{ try_type('p.quantity', 'decimal(20, 3)') }} as quantity,
    cast(null as decimal(20, 3)) as unit_price,
    cast(null as decimal(20, 3)) as amount_native,
    cast(null as {{ dbt.type_string() }}) as currency
  from landed_rows
  where batch_id = newest_batch_id
)

select * from final
