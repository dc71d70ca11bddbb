-- One row a deal with the names people know; the newest state, whatever day the marts stand for.
with newest as (
  select * from {{ ref('fct_deal_versions') }}
  where valid_to_at is null
),

final as (
  select
    newest.deal_key,
    newest.source_relation,
    newest.deal_id,
    deals.deal_name,
    pipelines.pipeline,
    stages.stage,
    owners.owner,
    accounts.account,
    products.product,
    {{ region_of('context.segments_region_from', 'deals.region', 'owners.region', 'accounts.region') }} as region,
    deals.lead_source,
    deals.deal_type,
    deals.created_at,
    snapshot.closed_at_event,
    newest.close_date,
    newest.status,
    snapshot.stage_lost_at,
    newest.amount_native,
    newest.currency,
    newest.amount_base,
    newest.is_deleted,
    newest.merged_into_deal_id,
    deals.deal_url
  from newest
  cross join {{ ref('stg_run_context') }} as context
  inner join {{ ref('int_deals') }} as deals on newest.deal_key = deals.deal_key
  left join {{ ref('fct_deals') }} as snapshot on newest.deal_key = snapshot.deal_key
  left join {{ ref('dim_pipeline') }} as pipelines on newest.pipeline_key = pipelines.pipeline_key
  left join {{ ref('dim_stage') }} as stages on newest.stage_key = stages.stage_key
  left join {{ ref('dim_owner') }} as owners on newest.owner_key = owners.owner_key
  left join {{ ref('dim_account') }} as accounts
    on coalesce({{ hash_key(['deals.source_relation', 'deals.account_id']) }}, '') = accounts.account_key
  left join {{ ref('dim_product') }} as products
    on coalesce({{ hash_key(['deals.source_relation', 'deals.product_id']) }}, '') = products.product_key
)

select * from final
