{%- set told = [
  'source_relation', 'deal_id', 'modified_at', 'is_deleted', 'deal_name', 'pipeline_id', 'stage_id',
  'status', 'amount_native', 'currency', 'created_at', 'close_date', 'closed_at', 'owner_id', 'account_id',
  'product_id', 'region', 'country', 'lead_source', 'deal_type', 'forecast_category', 'probability',
  'lost_reason', 'competitor', 'next_step', 'last_activity_at', 'deal_url', 'deleted_at',
  'merged_into_deal_id', 'merged_at'
] -%}
{%- set noted = ['extracted_at', 'batch_id', 'is_initial_load', 'data_as_of'] -%}
-- One contract for all sources; equal content counts once, with its first and its last delivery.
with snapshots as (
  select
    source_relation,
    sha256,
    max(snapshot_on) as snapshot_on
  from {{ ref('stg_snapshots') }}
  group by source_relation, sha256
),

delivered as (
  select
    deals.*,
    snapshots.snapshot_on
  from {{ ref('files_deals') }} as deals
  left join snapshots
    on deals.source_relation = snapshots.source_relation
      and deals.sha256 = snapshots.sha256
),

deals as (
  select
    {{ (told + noted) | join(',\n    ') }},
    snapshot_on
  from delivered
  {{ union_vendors('deals', told + noted + ['cast(null as date) as snapshot_on']) }}
),

final as (
  select
    {{ told | join(',\n    ') }},
    min(extracted_at) as first_extracted_at,
    max(extracted_at) as last_extracted_at,
    max(batch_id) as batch_id,
    max(case when is_initial_load then 1 else 0 end) = 1 as is_initial_load,
    max(data_as_of) as data_as_of,
    max(snapshot_on) as snapshot_on
  from deals
  where deal_id is not null
  group by
    {{ told | join(',\n    ') }}
)

select * from final
