-- The newest delivery of each id; an id that is delivered no more keeps its last known row.
with rows_landed as (
  {{ landed('products', ['product_id', 'name', 'family', 'list_price', 'currency', 'row']) }}
),

ranked as (
  select
    *,
    row_number() over (
      partition by source_relation, p.product_id
      order by extracted_at desc, batch_id desc, {{ try_type('p.row', 'bigint') }} desc
    ) as newest_first
  from rows_landed
  where p.product_id is not null
),

final as (
  select
    rows_landed.source_relation,
    rows_landed.p.product_id as product_id,
    rows_landed.p.name as product_name,
    rows_landed.p.family as family,
    {{ try_type('rows_landed.p.list_price', 'decimal(20, 3)') }} as list_price,
    rows_landed.p.currency as currency
  from ranked as rows_landed
  where rows_landed.newest_first = 1
)

select * from final
