with told as (
  select
    source_relation,
    record_id,
    extracted_at,
    batch_id,
    {{ json_shape('payload', {'properties': {'name': '', 'hs_product_type': '', 'price': ''}}) }}.properties as p
  from {{ source('landing_hubspot', 'products') }}
),

-- prices of the library stand in the portal's own currency
currencies_told as (
  select
    source_relation,
    extracted_at,
    batch_id,
    {{ json_shape('payload', {'id': ''}) }}.id as currency
  from {{ source('landing_hubspot', 'company_currency') }}
),

company_currencies as (
  select
    source_relation,
    {{ last_value_by('currency', ['extracted_at', 'batch_id'], 'currency is not null') }} as currency
  from currencies_told
  group by source_relation
),

final as (
  select
    told.source_relation,
    told.extracted_at,
    told.batch_id,
    cast(null as bigint) as delivery_order,
    told.record_id as product_id,
    told.p.name as product_name,
    told.p.hs_product_type as family,
    {{ try_type('told.p.price', 'decimal(20, 3)') }} as list_price,
    upper(company_currencies.currency) as currency
  from told
  left join company_currencies on told.source_relation = company_currencies.source_relation
)

select * from final
