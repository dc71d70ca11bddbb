{%- set fields = [
  'title', 'pipeline_id', 'stage_id', 'status', 'value', 'currency', 'add_time', 'update_time', 'expected_close_date',
  'won_time', 'lost_time', 'close_time', 'archive_time', 'is_archived', 'owner_id', 'org_id', 'probability',
  'lost_reason', 'channel', 'custom_fields'
] -%}
-- Deals. A deal that vanished keeps what was last known of it. An open deal that was archived has left the pipeline
-- without an outcome. A value of 0 is what Pipedrive shows for none. The close date of a closed deal is its closing's.
with rows_landed as (
  select
    source_relation,
    record_id,
    modified_at,
    extracted_at,
    batch_id,
    is_initial_load,
    is_deleted,
    {{ json_struct('payload', ['stageledger']) }}.stageledger as own_words,
    payload
  from {{ source('landing_pipedrive', 'deals') }}
),

carried_over as (
  select
    source_relation,
    record_id,
    modified_at,
    extracted_at,
    batch_id,
    is_initial_load,
    is_deleted,
    {{ json_struct('own_words', ['deleted_at', 'merged_into']) }} as tombstone,
    {{ carried('case when own_words is null then payload end', 'deal_so_far') }} as payload
  from rows_landed
  window deal_so_far as (
    partition by source_relation, record_id
    order by modified_at, extracted_at, batch_id
    rows between unbounded preceding and current row
  )
),

parsed as (
  select
    source_relation,
    record_id,
    modified_at,
    extracted_at,
    batch_id,
    is_initial_load,
    is_deleted,
    tombstone,
    payload,
    {{ json_struct('payload', fields) }} as p
  from carried_over
),

typed as (
  select
    *,
    p.custom_fields as custom_fields,
    case
      when p.status in ('won', 'lost') then p.status
      when p.is_archived = 'true' then 'closed_other'
      else 'open'
    end as status,
    case
      when p.status = 'won' then coalesce({{ pipedrive_instant('p.won_time') }}, {{ pipedrive_instant('p.close_time') }})
      when p.status = 'lost' then coalesce({{ pipedrive_instant('p.lost_time') }}, {{ pipedrive_instant('p.close_time') }})
      when p.is_archived = 'true' then coalesce({{ pipedrive_instant('p.archive_time') }}, modified_at)
    end as closed_at
  from parsed
),

channels as (
  select * from ({{ pipedrive_options('deal_fields') }}) as options
  where field_code = 'channel'
),

named as (
  {{ pipedrive_named_values('typed', 'deal_fields', {
    'region': ['region'], 'country': ['country'], 'lead_source': ['source', 'lead source'], 'deal_type': ['deal type'],
    'forecast_category': ['forecast category'], 'competitor': ['competitor'], 'next_step': ['next step'],
    'product_id': ['product'], 'amount': [], 'lost_reason': []
  }, {
    'region': 'region', 'country': 'country', 'lead_source': 'source', 'deal_type': 'deal_type',
    'forecast_category': 'forecast_category', 'competitor': 'competitor', 'next_step': 'next_step',
    'product_id': 'product', 'amount': 'amount', 'lost_reason': 'lost_reason'
  }) }}
),

own as (
  {{ own_properties() }}
),

final as (
  select
    typed.source_relation,
    typed.record_id as deal_id,
    typed.modified_at,
    typed.extracted_at,
    typed.batch_id,
    typed.is_initial_load,
    typed.is_deleted,
    cast(null as date) as data_as_of,
    typed.p.title as deal_name,
    typed.p.pipeline_id as pipeline_id,
    typed.p.stage_id as stage_id,
    typed.status,
    nullif({{ try_type(pipedrive_own_or('amount', 'amount', 'typed.p.value'), 'decimal(20, 3)') }}, 0) as amount_native,
    upper(typed.p.currency) as currency,
    {{ pipedrive_instant('typed.p.add_time') }} as created_at,
    case
      when typed.closed_at is not null then {{ business_date('typed.closed_at', 'context.time_zone') }}
      else {{ try_type('typed.p.expected_close_date', 'date') }}
    end as close_date,
    typed.closed_at,
    typed.p.owner_id as owner_id,
    typed.p.org_id as account_id,
    {{ pipedrive_own_or('product', 'product_id', 'named.product_id') }} as product_id,
    {{ pipedrive_own_or('region', 'region', 'named.region') }} as region,
    {{ pipedrive_own_or('country', 'country', 'named.country') }} as country,
    {{ pipedrive_own_or('source', 'lead_source', 'coalesce(named.lead_source, channels.option_label)') }} as lead_source,
    {{ pipedrive_own_or('deal_type', 'deal_type', 'named.deal_type') }} as deal_type,
    {{ pipedrive_own_or('forecast_category', 'forecast_category', 'named.forecast_category') }} as forecast_category,
    {{ try_type('typed.p.probability', 'double') }} / 100 as probability,
    {{ pipedrive_own_or('lost_reason', 'lost_reason', 'typed.p.lost_reason') }} as lost_reason,
    {{ pipedrive_own_or('competitor', 'competitor', 'named.competitor') }} as competitor,
    {{ pipedrive_own_or('next_step', 'next_step', 'named.next_step') }} as next_step,
    cast(null as timestamp) as last_activity_at,
    cast(null as {{ dbt.type_string() }}) as deal_url,
    case
      when typed.is_deleted
        then coalesce({{ pipedrive_instant('substr(typed.tombstone.deleted_at, 1, 19)') }}, typed.modified_at)
    end as deleted_at,
    typed.tombstone.merged_into as merged_into_deal_id,
    cast(null as timestamp) as merged_at
  from typed
  cross join {{ ref('stg_run_context') }} as context
  left join named
    on typed.source_relation = named.source_relation
      and typed.custom_fields = named.custom_fields
  left join own on typed.source_relation = own.source_relation
  left join channels
    on typed.source_relation = channels.source_relation
      and typed.p.channel = channels.option_id
)

select * from final
