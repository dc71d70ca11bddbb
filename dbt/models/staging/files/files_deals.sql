{%- set fields = [
  'deal_id', 'name', 'pipeline', 'stage', 'status', 'amount', 'arr', 'tcv', 'currency', 'created_at', 'close_date', 'closed_at',
  'modified_at', 'owner', 'account', 'product', 'region', 'country', 'source', 'deal_type', 'forecast_category',
  'probability', 'lost_reason', 'competitor', 'next_step', 'last_activity_at', 'deal_url', 'deleted_at',
  'merged_into', 'merged_at', 'sha256'
] -%}
with rows_landed as (
  {{ landed('deals', fields) }}
),

files_read as (
  select
    source_relation,
    p.sha256 as sha256,
    max({{ try_type('p.data_as_of', 'date') }}) as data_as_of
  from ({{ landed('reads', ['sha256', 'entity', 'data_as_of']) }}) as reads
  where p.entity = 'deals'
  group by source_relation, p.sha256
),

final as (
  select
    rows_landed.source_relation,
    rows_landed.p.deal_id as deal_id,
    coalesce({{ try_type('rows_landed.p.modified_at', 'timestamp') }}, rows_landed.modified_at) as modified_at,
    rows_landed.extracted_at,
    rows_landed.batch_id,
    rows_landed.is_initial_load,
    rows_landed.is_deleted,
    rows_landed.p.sha256 as sha256,
    files_read.data_as_of,
    rows_landed.p.name as deal_name,
    rows_landed.p.pipeline as pipeline_id,
    rows_landed.p.stage as stage_id,
    rows_landed.p.status as status,
    {{ try_type(measured_amount('rows_landed.p', 'context.amount_measure'), 'decimal(20, 3)') }} as amount_native,
    upper(rows_landed.p.currency) as currency,
    {{ try_type('rows_landed.p.created_at', 'timestamp') }} as created_at,
    {{ try_type('rows_landed.p.close_date', 'date') }} as close_date,
    {{ try_type('rows_landed.p.closed_at', 'timestamp') }} as closed_at,
    rows_landed.p.owner as owner_id,
    rows_landed.p.account as account_id,
    rows_landed.p.product as product_id,
    rows_landed.p.region as region,
    rows_landed.p.country as country,
    rows_landed.p.source as lead_source,
    rows_landed.p.deal_type as deal_type,
    rows_landed.p.forecast_category as forecast_category,
    {{ try_type('rows_landed.p.probability', 'double') }} as probability,
    rows_landed.p.lost_reason as lost_reason,
    rows_landed.p.competitor as competitor,
    rows_landed.p.next_step as next_step,
    {{ try_type('rows_landed.p.last_activity_at', 'timestamp') }} as last_activity_at,
    rows_landed.p.deal_url as deal_url,
    {{ try_type('rows_landed.p.deleted_at', 'timestamp') }} as deleted_at,
    rows_landed.p.merged_into as merged_into_deal_id,
    {{ try_type('rows_landed.p.merged_at', 'timestamp') }} as merged_at
  from rows_landed
  cross join {{ ref('stg_run_context') }} as context
  left join files_read
    on rows_landed.source_relation = files_read.source_relation
      and rows_landed.p.sha256 = files_read.sha256
)

select * from final
