with told as (
  select
    source_relation,
    record_id,
    extracted_at,
    batch_id,
    {{ json_shape('payload', {'properties': {'name': '', 'industry': '', 'state': '', 'country': ''}}) }}.properties as p
  from {{ source('landing_hubspot', 'companies') }}
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
    p.state as region,
    p.country as country
  from told
)

select * from final
