-- Products with their standard price: the corporate currency's where there are several.
with products as (
  {{ landed_salesforce_newest('products', ['Name', 'Family']) }}
),

prices as (
  {{ landed_salesforce_newest('prices', ['Product2Id', 'CurrencyIsoCode', 'IsActive']) }}
),

corporate as (
  select
    source_relation,
    max(p.isocode) as currency
  from ({{ landed_salesforce_newest('currencies', ['IsoCode', 'IsCorporate']) }}) as currencies
  where p.iscorporate = 'true'
  group by source_relation
),

ranked_prices as (
  select
    prices.source_relation,
    prices.p.product2id as product_id,
    {{ try_type(json_number_text('prices.payload', 'UnitPrice'), 'decimal(20, 3)') }} as list_price,
    upper(prices.p.currencyisocode) as currency,
    row_number() over (
      partition by prices.source_relation, prices.p.product2id
      order by
        case when prices.p.currencyisocode = corporate.currency then 0 else 1 end,
        prices.p.currencyisocode nulls last,
        prices.record_id
    ) as first_choice
  from prices
  left join corporate on prices.source_relation = corporate.source_relation
  where not prices.is_deleted and coalesce(prices.p.isactive, 'true') = 'true'
),

final as (
  select
    products.source_relation,
    products.extracted_at,
    products.batch_id,
    cast(null as bigint) as delivery_order,
    products.record_id as product_id,
    products.p.name as product_name,
    products.p.family as family,
    ranked_prices.list_price,
    ranked_prices.currency
  from products
  left join ranked_prices
    on products.source_relation = ranked_prices.source_relation
      and products.record_id = ranked_prices.product_id
      and ranked_prices.first_choice = 1
)

select * from final
