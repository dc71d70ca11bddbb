with rows_landed as (
  {{ landed_salesforce('accounts', ['Name', 'Industry', 'BillingCountry', 'Region__c', 'Sales_Region__c']) }}
),

final as (
  select
    source_relation,
    extracted_at,
    batch_id,
    cast(null as bigint) as delivery_order,
    record_id as account_id,
    p.name as account_name,
    p.industry as industry,
    coalesce(p.region__c, p.sales_region__c) as region,
    p.billingcountry as country
  from rows_landed
)

select * from final
