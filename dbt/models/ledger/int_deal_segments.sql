-- Each deal in each of its segments, with the share of its amount that belongs there. Products come from line items
-- where there are any; counts of deals per product may overlap, amounts never do.
with deals as (
  select * from {{ ref('fct_deals') }}
),

by_product as (
  select
    lines.deal_key,
    products.product as segment,
    sum(lines.amount_base) as amount_base
  from {{ ref('fct_line_items') }} as lines
  inner join {{ ref('dim_product') }} as products on lines.product_key = products.product_key
  group by lines.deal_key, products.product
),

labelled as (
  select
    deals.deal_key,
    deals.amount_base,
    owners.owner,
    owners.team,
    accounts.account,
    products.product,
    deals.industry,
    deals.region,
    deals.country,
    deals.lead_source,
    deals.deal_type,
    pipelines.pipeline
  from deals
  inner join {{ ref('dim_owner') }} as owners on deals.credit_owner_key = owners.owner_key
  inner join {{ ref('dim_account') }} as accounts on deals.account_key = accounts.account_key
  inner join {{ ref('dim_product') }} as products on deals.product_key = products.product_key
  inner join {{ ref('dim_pipeline') }} as pipelines on deals.pipeline_key = pipelines.pipeline_key
),

final as (
  select deal_key, 'total' as segment_type, 'all' as segment, amount_base from labelled
  {%- for segment_type, label in [
    ('owner', 'owner'), ('team', 'team'), ('account', 'account'), ('industry', 'industry'), ('region', 'region'),
    ('country', 'country'), ('source', 'lead_source'), ('deal_type', 'deal_type'), ('pipeline', 'pipeline')
  ] %}
  union all
  select deal_key, '{{ segment_type }}' as segment_type, {{ label }} as segment, amount_base from labelled
  {%- endfor %}
  union all
  select
    labelled.deal_key,
    'product' as segment_type,
    coalesce(by_product.segment, labelled.product) as segment,
    cast(case when by_product.deal_key is not null then by_product.amount_base else labelled.amount_base end as decimal(20, 3)) as amount_base
  from labelled
  left join by_product on labelled.deal_key = by_product.deal_key
)

select * from final
