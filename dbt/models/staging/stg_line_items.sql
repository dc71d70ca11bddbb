-- The newest delivery of each id; an id that is delivered no more keeps its last known row.
with delivered as (
  select
    source_relation,
    extracted_at,
    batch_id,
    {{ try_type('p.row', 'bigint') }} as delivery_order,
    p.line_item_id as line_item_id,
    p.deal_id as deal_id,
    p.product as product_id,
    {{ try_type('p.quantity', 'decimal(20, 3)') }} as quantity,
    {{ try_type('p.unit_price', 'decimal(20, 3)') }} as unit_price,
    {{ try_type('p.amount', 'decimal(20, 3)') }} as amount_native,
    p.currency as currency
  from ({{ landed('line_items', ['line_item_id', 'deal_id', 'product', 'quantity', 'unit_price', 'amount', 'currency', 'row']) }}) as rows_landed
  {{ union_vendors('line_items', ['source_relation', 'extracted_at', 'batch_id', 'delivery_order', 'line_item_id', 'deal_id', 'product_id', 'quantity', 'unit_price', 'amount_native', 'currency']) }}
),

ranked as (
  select
    *,
    row_number() over (
      partition by source_relation, line_item_id
      order by extracted_at desc, batch_id desc, delivery_order desc
    ) as newest_first
  from delivered
  where line_item_id is not null
),

final as (
  select
    source_relation,
    line_item_id,
    deal_id,
    product_id,
    quantity,
    unit_price,
    amount_native,
    currency
  from ranked
  where newest_first = 1
)

select * from final
