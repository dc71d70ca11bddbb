-- One row per version of a deal at the end of a window, and one per tombstone. A deal that was deleted tells its last
-- version with it; of one that only vanished, what was known last stays.
{%- set fields = [
  'id', 'number', 'description', 'party', 'employee', 'currency', 'amount', 'end_date', 'conversion_probability',
  'lost_reason', 'state', 'create_date', 'stageledger'
] %}
{%- set kept = [
  'deal_name', 'stage_id', 'amount_native', 'currency', 'created_at', 'close_date', 'owner_id', 'account_id',
  'probability', 'lost_reason'
] %}
with landed_rows as (
  select
    source_relation,
    record_id,
    modified_at,
    extracted_at,
    batch_id,
    is_initial_load,
    is_deleted,
    {{ json_struct('payload', fields) }} as p
  from {{ source('landing_tryton', 'deals') }}
),

parsed as (
  select
    *,
    {{ typed_parts('p.create_date') }} as created,
    {{ typed_parts('p.end_date') }} as ended
  from landed_rows
),

currencies as (
  {{ tryton_currencies() }}
),

versions as (
  select
    parsed.source_relation,
    parsed.record_id as deal_id,
    parsed.modified_at,
    parsed.extracted_at,
    parsed.batch_id,
    parsed.is_initial_load,
    parsed.is_deleted,
    parsed.p.id is not null as has_values,
    coalesce(nullif(trim(parsed.p.description), ''), parsed.p.number) as deal_name,
    parsed.p.state as stage_id,
    {{ try_type(json_at('parsed.p.amount', ['decimal']), 'decimal(20, 3)') }} as amount_native,
    upper(currencies.currency) as currency,
    {{ typed_instant('parsed.created') }} as created_at,
    {{ typed_date('parsed.ended') }} as close_date,
    parsed.p.employee as owner_id,
    parsed.p.party as account_id,
    {{ try_type('parsed.p.conversion_probability', 'double') }} as probability,
    nullif(trim(parsed.p.lost_reason), '') as lost_reason,
    {{ try_type(json_at('parsed.p.stageledger', ['deleted_at']), 'timestamp') }} as deleted_at,
    {{ json_at('parsed.p.stageledger', ['merged_into']) }} as merged_into_deal_id
  from parsed
  left join currencies
    on parsed.source_relation = currencies.source_relation
      and parsed.p.currency = currencies.currency_id
),

last_known as (
  select
    *,
    row_number() over (
      partition by source_relation, deal_id
      order by modified_at desc, extracted_at desc, batch_id desc
    ) as newest_first
  from versions
  where has_values
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
    'default' as pipeline_id,
    cast(null as {{ dbt.type_string() }}) as status,
    {%- for name in kept %}
    case when versions.has_values then versions.{{ name }} else last_known.{{ name }} end as {{ name }},
    {%- endfor %}
    cast(null as timestamp) as closed_at,
    cast(null as {{ dbt.type_string() }}) as product_id,
    cast(null as {{ dbt.type_string() }}) as region,
    cast(null as {{ dbt.type_string() }}) as country,
    cast(null as {{ dbt.type_string() }}) as lead_source,
    cast(null as {{ dbt.type_string() }}) as deal_type,
    cast(null as {{ dbt.type_string() }}) as forecast_category,
    cast(null as {{ dbt.type_string() }}) as competitor,
    cast(null as {{ dbt.type_string() }}) as next_step,
    cast(null as timestamp) as last_activity_at,
    cast(null as {{ dbt.type_string() }}) as deal_url,
    versions.deleted_at,
    versions.merged_into_deal_id,
    case when versions.merged_into_deal_id is not null then versions.deleted_at end as merged_at
  from versions
  left join last_known
    on versions.source_relation = last_known.source_relation
      and versions.deal_id = last_known.deal_id
      and last_known.newest_first = 1
      and not versions.has_values
)

select * from final
