-- The newest delivery of each id; an id that is delivered no more keeps its last known row.
with delivered as (
  select
    source_relation,
    extracted_at,
    batch_id,
    {{ try_type('p.row', 'bigint') }} as delivery_order,
    p.product_id as product_id,
    p.name as product_name,
    p.family as family,
    {{ try_type('p.list_price', 'decimal(20, 3)') }} as list_price,
    p.currency as currency
  from ({{ landed('products', ['product_id', 'name', 'family', 'list_price', 'currency', 'row']) }}) as rows_landed
  {{ union_vendors('products', ['source_relation', 'extracted_at', 'batch_id', 'delivery_order', 'product_id', 'product_name', 'family', 'list_price', 'currency']) }}
),

ranked as (
  select
    *,
    row_number() over (
      partition by source_relation, product_id
      order by extracted_at desc, batch_id desc, delivery_order desc
    ) as newest_first
  from delivered
  where product_id is not null
),

final as (
  select
    source_relation,
    product_id,
    product_name,
    family,
    list_price,
    currency
  from ranked
  where newest_first = 1
)

select * from final
