-- Lines as they are now; a deleted one is no more.
with newest as (
  {{ landed_salesforce_newest('line_items', ['OpportunityId', 'Product2Id', 'CurrencyIsoCode']) }}
),

final as (
  select
    source_relation,
    extracted_at,
    batch_id,
    cast(null as bigint) as delivery_order,
    record_id as line_item_id,
    p.opportunityid as deal_id,
    p.product2id as product_id,
    {{ try_type(json_number_text('payload', 'Quantity'), 'decimal(20, 3)') }} as quantity,
    {{ try_type(json_number_text('payload', 'UnitPrice'), 'decimal(20, 3)') }} as unit_price,
    {{ try_type(json_number_text('payload', 'TotalPrice'), 'decimal(20, 3)') }} as amount_native,
    upper(p.currencyisocode) as currency
  from newest
  where not is_deleted
)

select * from final
