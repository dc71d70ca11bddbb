-- Lines with their product found by id, name or alias; the amount where only quantity and price are told.
with lines as (
  select * from {{ ref('stg_line_items') }}
),

final as (
  select
    lines.source_relation,
    lines.line_item_id,
    lines.deal_id,
    coalesce(products.member_id, lines.product_id) as product_id,
    lines.quantity,
    lines.unit_price,
    cast(coalesce(lines.amount_native, lines.quantity * lines.unit_price) as decimal(20, 3)) as amount_native,
    lines.currency
  from lines
  left join {{ ref('int_lookup') }} as products
    on products.entity = 'product'
      and lines.source_relation = products.source_relation
      and lower(trim(lines.product_id)) = products.lookup_text
)

select * from final
