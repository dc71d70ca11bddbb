-- Products from their file, and those that only deals name.
with named as (
  select
    source_relation,
    product_id
  from (
    select source_relation, product_id from {{ ref('int_deals') }}
    union all
    select source_relation, product_id from {{ ref('int_line_items') }}
  ) as deals_and_lines
  where product_id is not null
  group by source_relation, product_id
),

told as (
  select * from {{ ref('stg_products') }}
),

members as (
  select
    coalesce(told.source_relation, named.source_relation) as source_relation,
    coalesce(told.product_id, named.product_id) as product_id,
    coalesce(told.product_name, told.product_id, named.product_id) as product,
    told.family,
    told.list_price,
    told.currency,
    told.product_id is null as is_unknown
  from told
  full outer join named
    on told.source_relation = named.source_relation
      and told.product_id = named.product_id
),

final as (
  select
    {{ hash_key(['source_relation', 'product_id']) }} as product_key,
    source_relation,
    product_id,
    product,
    family,
    list_price,
    currency,
    is_unknown
  from members
  union all
  select
    {{ none_key() }} as product_key,
    '(none)' as source_relation,
    '(none)' as product_id,
    '(none)' as product,
    null as family,
    null as list_price,
    null as currency,
    false as is_unknown
)

select * from final
