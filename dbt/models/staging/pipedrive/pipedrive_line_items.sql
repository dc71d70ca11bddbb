-- The newest reading of a deal's products is all its lines: one that was removed is not among them.
with readings as (
  {{ pipedrive_newest('line_items', ['products']) }}
),

lines as (
  select
    source_relation,
    record_id as deal_id,
    extracted_at,
    batch_id,
    {{ json_items('p.products', ['id', 'product_id', 'quantity', 'item_price', 'sum', 'currency', 'is_enabled']) }} as line
  from readings
),

final as (
  select
    source_relation,
    extracted_at,
    batch_id,
    cast(null as bigint) as delivery_order,
    line.id as line_item_id,
    deal_id,
    line.product_id as product_id,
    {{ try_type('line.quantity', 'decimal(20, 3)') }} as quantity,
    {{ try_type('line.item_price', 'decimal(20, 3)') }} as unit_price,
    {{ try_type('line.sum', 'decimal(20, 3)') }} as amount_native,
    upper(line.currency) as currency
  from lines
  where coalesce(line.is_enabled, 'true') <> 'false'
)

select * from final
