-- The newest delivery of each id; an id that is delivered no more keeps its last known row.
with rows_landed as (
  {{ landed('line_items', ['line_item_id', 'deal_id', 'product', 'quantity', 'unit_price', 'amount', 'currency', 'row']) }}
),

ranked as (
  select
    *,
    row_number() over (
      partition by source_relation, p.line_item_id
      order by extracted_at desc, batch_id desc, {{ try_type('p.row', 'bigint') }} desc
    ) as newest_first
  from rows_landed
  where p.line_item_id is not null
),

final as (
  select
    rows_landed.source_relation,
    rows_landed.p.line_item_id as line_item_id,
    rows_landed.p.deal_id as deal_id,
    rows_landed.p.product as product_id,
    {{ try_type('rows_landed.p.quantity', 'decimal(20, 3)') }} as quantity,
    {{ try_type('rows_landed.p.unit_price', 'decimal(20, 3)') }} as unit_price,
    {{ try_type('rows_landed.p.amount', 'decimal(20, 3)') }} as amount_native,
    rows_landed.p.currency as currency
  from ranked as rows_landed
  where rows_landed.newest_first = 1
)

select * from final
