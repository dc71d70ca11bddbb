-- Products. Of several prices the one in the reporting currency is the list price, else the first by currency.
with products as (
  {{ pipedrive_newest('products', ['id', 'name', 'category', 'prices', 'custom_fields']) }}
),

parsed as (
  select
    source_relation,
    extracted_at,
    batch_id,
    p.id as product_id,
    p.name as product_name,
    p.category as category,
    p.prices as prices,
    p.custom_fields as custom_fields
  from products
),

all_prices as (
  select
    source_relation,
    product_id,
    {{ json_items('prices', ['price', 'currency']) }} as item
  from parsed
),

priced as (
  select
    all_prices.source_relation,
    all_prices.product_id,
    {{ try_type('all_prices.item.price', 'decimal(20, 3)') }} as list_price,
    upper(all_prices.item.currency) as currency,
    row_number() over (
      partition by all_prices.source_relation, all_prices.product_id
      order by
        case when upper(all_prices.item.currency) = context.currency then 0 else 1 end,
        all_prices.item.currency nulls last,
        all_prices.item.price
    ) as best_first
  from all_prices
  cross join {{ ref('stg_run_context') }} as context
),

categories as (
  select * from ({{ pipedrive_options('product_fields') }}) as options
  where field_code = 'category'
),

named as (
  {{ pipedrive_named_values('parsed', 'product_fields', {'family': ['family']}) }}
),

final as (
  select
    parsed.source_relation,
    parsed.extracted_at,
    parsed.batch_id,
    cast(null as bigint) as delivery_order,
    parsed.product_id,
    parsed.product_name,
    coalesce(named.family, categories.option_label, parsed.category) as family,
    priced.list_price,
    priced.currency
  from parsed
  left join priced
    on parsed.source_relation = priced.source_relation
      and parsed.product_id = priced.product_id
      and priced.best_first = 1
  left join named
    on parsed.source_relation = named.source_relation
      and parsed.custom_fields = named.custom_fields
  left join categories
    on parsed.source_relation = categories.source_relation
      and parsed.category = categories.option_id
)

select * from final
