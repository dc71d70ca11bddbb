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
    p.Name as account_name,
    p.Industry as industry,
    coalesce(p.Region__c, p.Sales_Region__c) as region,
    p.BillingCountry as country
  from rows_landed
)

select * from final
