-- Organizations. The industry is an option of Pipedrive's own field, or a custom field; so is the country.
with organizations as (
  {{ pipedrive_newest('organizations', ['id', 'name', 'industry', 'address', 'custom_fields']) }}
),

parsed as (
  select
    source_relation,
    extracted_at,
    batch_id,
    p.id as account_id,
    p.name as account_name,
    p.industry as industry_option,
    {{ json_struct('p.address', ['country']) }}.country as address_country,
    p.custom_fields as custom_fields
  from organizations
),

industries as (
  select * from ({{ pipedrive_options('organization_fields') }}) as options
  where field_code = 'industry'
),

named as (
  {{ pipedrive_named_values('parsed', 'organization_fields', {
    'industry': ['industry'], 'region': ['region'], 'country': ['country']
  }) }}
),

final as (
  select
    parsed.source_relation,
    parsed.extracted_at,
    parsed.batch_id,
    cast(null as bigint) as delivery_order,
    parsed.account_id,
    parsed.account_name,
    coalesce(named.industry, industries.option_label, parsed.industry_option) as industry,
    named.region,
    coalesce(named.country, parsed.address_country) as country
  from parsed
  left join named
    on parsed.source_relation = named.source_relation
      and parsed.custom_fields = named.custom_fields
  left join industries
    on parsed.source_relation = industries.source_relation
      and parsed.industry_option = industries.option_id
)

select * from final
