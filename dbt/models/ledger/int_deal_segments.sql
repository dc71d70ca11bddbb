-- Each deal in each of its segments, with the share of its amount that belongs there. Amounts follow line items; a deal
-- is counted once per segment type, for its own product. Line items come with progress, so a product that counted
-- them would win more often than the whole. Only where a source names no product on deals does its largest line count.
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

largest_line as (
  select
    deal_key,
    segment,
    row_number() over (partition by deal_key order by case when segment = '(none)' then 1 else 0 end, amount_base desc nulls last, segment) as largest_first
  from by_product
),

labelled as (
  select
    deals.deal_key,
    deals.amount_base,
    owners.owner,
    owners.team,
    accounts.account,
    case
      when max(case when deals.product_key <> {{ none_key() }} then 1 else 0 end) over (partition by deals.source_relation) = 1
        then products.product
      else coalesce(largest_line.segment, products.product)
    end as product,
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
  left join largest_line
    on deals.deal_key = largest_line.deal_key
      and largest_line.largest_first = 1
),

lined_deals as (
  select deal_key
  from by_product
  group by deal_key
),

final as (
  select deal_key, 'total' as segment_type, 'all' as segment, amount_base, true as is_counted from labelled
  {%- for segment_type, label in [
    ('owner', 'owner'), ('team', 'team'), ('account', 'account'), ('industry', 'industry'), ('region', 'region'),
    ('country', 'country'), ('source', 'lead_source'), ('deal_type', 'deal_type'), ('pipeline', 'pipeline')
  ] %}
  union all
  select deal_key, '{{ segment_type }}' as segment_type, {{ label }} as segment, amount_base, true as is_counted from labelled
  {%- endfor %}
  union all
  select
    labelled.deal_key,
    'product' as segment_type,
    labelled.product as segment,
    cast(case
      when lined_deals.deal_key is null then labelled.amount_base
      else coalesce(by_product.amount_base, 0)
    end as decimal(20, 3)) as amount_base,
    true as is_counted
  from labelled
  left join lined_deals on labelled.deal_key = lined_deals.deal_key
  left join by_product
    on labelled.deal_key = by_product.deal_key
      and labelled.product = by_product.segment
  union all
  select
    by_product.deal_key,
    'product' as segment_type,
    by_product.segment,
    cast(by_product.amount_base as decimal(20, 3)) as amount_base,
    false as is_counted
  from by_product
  inner join labelled on by_product.deal_key = labelled.deal_key
  where by_product.segment <> labelled.product
)

select * from final
