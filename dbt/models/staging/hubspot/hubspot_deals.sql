-- One row per version of a deal, and one per tombstone. A tombstone tells only that a deal is gone: what was known
-- of it last stays with it.
{%- set shape = {
  'id': '', 'updatedAt': '', 'archivedAt': '', 'url': '',
  'properties': {
    'dealname': '', 'dealstage': '', 'pipeline': '', 'amount': '', 'deal_currency_code': '', 'closedate': '',
    'createdate': '', 'hubspot_owner_id': '', 'dealtype': '', 'hs_analytics_source': '',
    'hs_manual_forecast_category': '', 'hs_deal_stage_probability': '', 'closed_lost_reason': '', 'hs_next_step': '',
    'notes_last_updated': '', 'hs_lastmodifieddate': ''
  },
  'associations': {'companies': {'results': [{'id': '', 'type': ''}]}},
  'stageledger': {'deleted_reason': '', 'deleted_at': '', 'merged_into': ''}
} %}
with landed_rows as (
  select
    source_relation,
    record_id as deal_id,
    modified_at as landed_at,
    extracted_at,
    batch_id,
    is_initial_load,
    is_deleted,
    {{ json_at('payload', ['properties']) }} as properties,
    {{ json_shape('payload', shape) }} as p
  from {{ source('landing_hubspot', 'deals') }}
),

own as (
  {{ own_properties() }}
),

context as (
  select time_zone from {{ ref('stg_run_context') }}
),

-- a deal may have several companies; one of them is the primary one
companies as (
  {{ each_item('landed_rows', ['source_relation', 'deal_id', 'batch_id'], 'p.associations.companies.results') }}
),

primary_companies as (
  select
    source_relation,
    deal_id,
    batch_id,
    {{ first_value_by('item.id', ["case when item.type = 'deal_to_company' then 0 else 1 end", 'item_number'], 'item.id is not null') }} as account_id
  from companies
  group by source_relation, deal_id, batch_id
),

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

records as (
  select
    landed_rows.source_relation,
    landed_rows.deal_id,
    greatest(
      -- later than HubSpot's own stamp where a deal was seen again after it had vanished
      landed_rows.landed_at,
      {{ told_instant('landed_rows.p.archivedat') }},
      coalesce({{ told_instant('landed_rows.p.properties.hs_lastmodifieddate') }}, {{ told_instant('landed_rows.p.updatedat') }})
    ) as modified_at,
    landed_rows.extracted_at,
    landed_rows.batch_id,
    landed_rows.is_initial_load,
    landed_rows.is_deleted,
    landed_rows.p.properties.dealname as deal_name,
    landed_rows.p.properties.pipeline as pipeline_id,
    landed_rows.p.properties.dealstage as stage_id,
    {{ try_type(own_or('amount', 'landed_rows.properties', 'landed_rows.p.properties.amount'), 'decimal(20, 3)') }} as amount_native,
    upper(coalesce(landed_rows.p.properties.deal_currency_code, company_currencies.currency)) as currency,
    {{ told_instant('landed_rows.p.properties.createdate') }} as created_at,
    {{ told_instant('landed_rows.p.properties.closedate') }} as close_at,
    landed_rows.p.properties.hubspot_owner_id as owner_id,
    primary_companies.account_id,
    {{ own_or('product', 'landed_rows.properties', 'null') }} as product_id,
    {{ own_or('region', 'landed_rows.properties', 'null') }} as region,
    {{ own_or('country', 'landed_rows.properties', 'null') }} as country,
    {{ own_or('competitor', 'landed_rows.properties', 'null') }} as competitor,
    {{ own_or('source', 'landed_rows.properties', 'landed_rows.p.properties.hs_analytics_source') }} as lead_source,
    {{ own_or('deal_type', 'landed_rows.properties', 'landed_rows.p.properties.dealtype') }} as deal_type,
    {{ own_or('forecast_category', 'landed_rows.properties', 'landed_rows.p.properties.hs_manual_forecast_category') }} as forecast_category,
    {{ try_type('landed_rows.p.properties.hs_deal_stage_probability', 'double') }} as probability,
    {{ own_or('lost_reason', 'landed_rows.properties', 'landed_rows.p.properties.closed_lost_reason') }} as lost_reason,
    {{ own_or('next_step', 'landed_rows.properties', 'landed_rows.p.properties.hs_next_step') }} as next_step,
    {{ told_instant('landed_rows.p.properties.notes_last_updated') }} as last_activity_at,
    landed_rows.p.url as deal_url,
    {{ told_instant('landed_rows.p.archivedat') }} as deleted_at
  from landed_rows
  left join primary_companies
    on landed_rows.source_relation = primary_companies.source_relation
      and landed_rows.deal_id = primary_companies.deal_id
      and landed_rows.batch_id = primary_companies.batch_id
  left join company_currencies on landed_rows.source_relation = company_currencies.source_relation
  left join own on landed_rows.source_relation = own.source_relation
  where landed_rows.p.stageledger.deleted_reason is null
),

last_known as (
  select
    *,
    row_number() over (
      partition by source_relation, deal_id
      order by modified_at desc, extracted_at desc, batch_id desc
    ) as newest_first
  from records
),

tombstones as (
  select
    landed_rows.source_relation,
    landed_rows.deal_id,
    {{ told_instant('landed_rows.p.stageledger.deleted_at') }} as modified_at,
    landed_rows.extracted_at,
    landed_rows.batch_id,
    landed_rows.is_initial_load,
    landed_rows.is_deleted,
    last_known.deal_name,
    last_known.pipeline_id,
    last_known.stage_id,
    last_known.amount_native,
    last_known.currency,
    last_known.created_at,
    last_known.close_at,
    last_known.owner_id,
    last_known.account_id,
    last_known.product_id,
    last_known.region,
    last_known.country,
    last_known.competitor,
    last_known.lead_source,
    last_known.deal_type,
    last_known.forecast_category,
    last_known.probability,
    last_known.lost_reason,
    last_known.next_step,
    last_known.last_activity_at,
    last_known.deal_url,
    {{ told_instant('landed_rows.p.stageledger.deleted_at') }} as deleted_at,
    landed_rows.p.stageledger.merged_into as merged_into_deal_id
  from landed_rows
  -- a deal that was gone before anyone looked is none
  inner join last_known
    on landed_rows.source_relation = last_known.source_relation
      and landed_rows.deal_id = last_known.deal_id
      and last_known.newest_first = 1
  where landed_rows.p.stageledger.deleted_reason is not null
),

versions as (
  select
    *,
    cast(null as {{ dbt.type_string() }}) as merged_into_deal_id
  from records
  union all
  select * from tombstones
),

final as (
  select
    versions.source_relation,
    versions.deal_id,
    versions.modified_at,
    versions.extracted_at,
    versions.batch_id,
    versions.is_initial_load,
    versions.is_deleted,
    cast(null as date) as data_as_of,
    versions.deal_name,
    versions.pipeline_id,
    versions.stage_id,
    cast(null as {{ dbt.type_string() }}) as status,
    versions.amount_native,
    versions.currency,
    versions.created_at,
    {{ told_date('versions.close_at', 'context.time_zone') }} as close_date,
    cast(null as timestamp) as closed_at,
    versions.owner_id,
    versions.account_id,
    versions.product_id,
    versions.region,
    versions.country,
    versions.lead_source,
    versions.deal_type,
    versions.forecast_category,
    versions.probability,
    versions.lost_reason,
    versions.competitor,
    versions.next_step,
    versions.last_activity_at,
    versions.deal_url,
    versions.deleted_at,
    versions.merged_into_deal_id,
    case when versions.merged_into_deal_id is not null then versions.deleted_at end as merged_at
  from versions
  cross join context
)

select * from final
