{{ config(materialized='view') }}
-- Snapshots are read in full only here, and nothing of them is stored but what differs (int_snapshot_changes).
with days as (
  select
    source_relation,
    snapshot_on
  from {{ ref('stg_snapshots') }}
  group by source_relation, snapshot_on
),

standing as (
  select
    days.source_relation,
    days.snapshot_on,
    files.sha256,
    files.extracted_at,
    files.is_initial_load
  from days
  inner join {{ ref('stg_snapshots') }} as files
    on days.source_relation = files.source_relation
      and files.snapshot_on <= days.snapshot_on
      and (files.stands_until_on is null or days.snapshot_on < files.stands_until_on)
),

final as (
  select
    standing.source_relation,
    standing.snapshot_on,
    standing.sha256,
    standing.extracted_at,
    standing.is_initial_load,
    deals.deal_id,
    true as is_readable,
    deals.modified_at,
    deals.pipeline_id,
    deals.stage_id,
    deals.status,
    deals.amount_native,
    deals.currency,
    deals.close_date,
    deals.owner_id,
    deals.forecast_category,
    deals.probability,
    deals.created_at,
    deals.closed_at
  from standing
  inner join {{ ref('files_deals') }} as deals
    on standing.source_relation = deals.source_relation
      and standing.sha256 = deals.sha256
  union all
  select
    standing.source_relation,
    standing.snapshot_on,
    standing.sha256,
    standing.extracted_at,
    standing.is_initial_load,
    rejected.deal_id,
    false as is_readable,
    null as modified_at,
    null as pipeline_id,
    null as stage_id,
    null as status,
    null as amount_native,
    null as currency,
    null as close_date,
    null as owner_id,
    null as forecast_category,
    null as probability,
    null as created_at,
    null as closed_at
  from standing
  inner join {{ ref('files_rejected_deals') }} as rejected
    on standing.source_relation = rejected.source_relation
      and standing.sha256 = rejected.sha256
)

select * from final
