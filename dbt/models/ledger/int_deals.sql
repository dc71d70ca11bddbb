-- The current record of each deal, and what it says about the end of the deal's history.
with context as (
  select * from {{ ref('stg_run_context') }}
),

first_runs as (
  select
    deliveries.first_extracted_at,
    coalesce(
      min(case when runs.run_kind = 'nightly' then runs.as_of end),
      min(runs.as_of)
    ) as first_as_of
  from (
    select first_extracted_at from {{ ref('stg_deals') }} group by first_extracted_at
  ) as deliveries
  left join {{ ref('stg_runs') }} as runs on runs.landed_through >= deliveries.first_extracted_at
  group by deliveries.first_extracted_at
),

compared_sources as (
  select source_relation
  from {{ ref('int_snapshot_days') }}
  group by source_relation
),

-- the newest snapshot tells how a deal stands, in whatever order the files arrived
ranked as (
  select
    *,
    row_number() over (
      partition by source_relation, deal_id
      order by
        snapshot_on desc nulls last,
        coalesce(modified_at, last_extracted_at) desc,
        last_extracted_at desc,
        batch_id desc,
        stage_id nulls last,
        status nulls last,
        amount_native nulls last,
        close_date nulls last,
        closed_at nulls last,
        owner_id nulls last,
        created_at nulls last,
        deal_name nulls last
    ) as newest_first,
    min(first_extracted_at) over (partition by source_relation, deal_id) as deal_first_extracted_at,
    max(case when is_initial_load then 1 else 0 end) over (partition by source_relation, deal_id) = 1 as is_deal_of_initial_load
  from {{ ref('stg_deals') }}
),

records as (
  select
    ranked.*,
    coalesce(
      case when compared_sources.source_relation is not null then ranked.snapshot_on end,
      ranked.data_as_of,
      first_runs.first_as_of
    ) as seen_on,
    case when not ranked.is_initial_load then known.known_on end as record_known_on,
    case when not ranked.is_deal_of_initial_load then deal_known.known_on end as deal_known_on
  from ranked
  left join compared_sources on ranked.source_relation = compared_sources.source_relation
  left join first_runs on ranked.first_extracted_at = first_runs.first_extracted_at
  left join {{ ref('int_known_on') }} as known on ranked.first_extracted_at = known.first_extracted_at
  left join {{ ref('int_known_on') }} as deal_known on ranked.deal_first_extracted_at = deal_known.first_extracted_at
  where ranked.newest_first = 1
),

-- a deal that only its history knows is a deal all the same
deals as (
  select
    coalesce(records.source_relation, told.source_relation) as source_relation,
    coalesce(records.deal_id, told.deal_id) as deal_id,
    records.deal_id is not null as has_record
  from records
  full outer join (
    select
      source_relation,
      deal_id
    from {{ ref('stg_deal_events') }}
    group by source_relation, deal_id
  ) as told
    on records.source_relation = told.source_relation
      and records.deal_id = told.deal_id
),

current_stages as (
  select
    source_relation,
    pipeline_id,
    stage_id,
    outcome
  from {{ ref('int_stage_ranks') }}
  where valid_to_at is null
),

stage_pipelines as (
  select
    source_relation,
    stage_id,
    max(pipeline_id) as pipeline_id
  from current_stages
  group by source_relation, stage_id
  having count(*) = 1
),

-- where the record names no pipeline, the one its history ends in
told_pipelines as (
  select
    events.source_relation,
    events.deal_id,
    {{ last_value_by('events.pipeline_id', ['events.event_at', 'coalesce(events.sequence_number, 0)', 'events.pipeline_id'], 'events.stage_id is not null and events.pipeline_id is not null') }} as pipeline_id
  from {{ ref('stg_deal_events') }} as events
  inner join records
    on events.source_relation = records.source_relation
      and events.deal_id = records.deal_id
      and records.pipeline_id is null
  group by events.source_relation, events.deal_id
),

resolved as (
  select
    deals.source_relation,
    deals.deal_id,
    deals.has_record,
    records.deal_name,
    coalesce(records.pipeline_id, stage_pipelines.pipeline_id, told_pipelines.pipeline_id, 'default') as pipeline_id,
    records.stage_id,
    coalesce(
      {{ closed_outcome('records.status') }},
      case when lower(records.status) in ('open', 'in progress', 'active') then 'open' end
    ) as record_status,
    records.amount_native,
    records.currency,
    records.created_at,
    records.close_date,
    -- what lies in the future counts from the extraction
    case when records.closed_at > records.first_extracted_at then records.first_extracted_at else records.closed_at end as closed_at,
    records.modified_at,
    records.seen_on,
    records.last_extracted_at,
    records.is_initial_load as is_record_of_initial_load,
    records.is_deal_of_initial_load,
    records.record_known_on,
    records.deal_known_on,
    coalesce(case when records.modified_at > records.first_extracted_at then records.first_extracted_at else records.modified_at end, {{ utc_instant('records.seen_on', 'context.time_zone') }}) as record_at,
    coalesce(owners.member_id, records.owner_id) as owner_id,
    coalesce(accounts.member_id, records.account_id) as account_id,
    coalesce(products.member_id, records.product_id) as product_id,
    records.region,
    records.country,
    records.lead_source,
    records.deal_type,
    records.forecast_category,
    records.probability,
    records.lost_reason,
    records.competitor,
    records.next_step,
    records.last_activity_at,
    records.deal_url,
    coalesce(records.is_deleted, false) as is_deleted,
    records.deleted_at,
    records.merged_into_deal_id,
    records.merged_at,
    context.time_zone
  from deals
  cross join context
  left join records
    on deals.source_relation = records.source_relation
      and deals.deal_id = records.deal_id
  left join stage_pipelines
    on records.source_relation = stage_pipelines.source_relation
      and records.stage_id = stage_pipelines.stage_id
  left join told_pipelines
    on deals.source_relation = told_pipelines.source_relation
      and deals.deal_id = told_pipelines.deal_id
  left join {{ ref('int_lookup') }} as owners
    on owners.entity = 'owner'
      and records.source_relation = owners.source_relation
      and lower(trim(records.owner_id)) = owners.lookup_text
  left join {{ ref('int_lookup') }} as accounts
    on accounts.entity = 'account'
      and records.source_relation = accounts.source_relation
      and lower(trim(records.account_id)) = accounts.lookup_text
  left join {{ ref('int_lookup') }} as products
    on products.entity = 'product'
      and records.source_relation = products.source_relation
      and lower(trim(records.product_id)) = products.lookup_text
),

final as (
  select
    {{ number_of_key(hash_key(['resolved.source_relation', 'resolved.deal_id'])) }} as deal_sk,
    {{ hash_key(['resolved.source_relation', 'resolved.deal_id']) }} as deal_key,
    resolved.source_relation,
    resolved.deal_id,
    resolved.has_record,
    resolved.deal_name,
    resolved.pipeline_id,
    resolved.stage_id,
    case
      when resolved.record_status in ('won', 'lost', 'closed_other') then resolved.record_status
      else coalesce(current_stages.outcome, resolved.record_status, case when resolved.stage_id is not null then 'open' end)
    end as record_outcome,
    coalesce(current_stages.outcome <> 'open', false) as is_stage_closed,
    resolved.amount_native,
    resolved.currency,
    resolved.created_at,
    resolved.close_date,
    -- the instant the record gives for its closing; a close date still ahead when seen is no closing
    case
      when resolved.record_status in ('won', 'lost', 'closed_other') or current_stages.outcome <> 'open'
        then coalesce(
          resolved.closed_at,
          case when resolved.close_date <= resolved.seen_on then {{ utc_instant('resolved.close_date', 'resolved.time_zone') }} end
        )
    end as record_closed_at,
    resolved.modified_at,
    resolved.record_at,
    resolved.seen_on,
    resolved.last_extracted_at,
    resolved.is_record_of_initial_load,
    resolved.is_deal_of_initial_load,
    resolved.record_known_on,
    resolved.deal_known_on,
    resolved.owner_id,
    resolved.account_id,
    resolved.product_id,
    resolved.region,
    resolved.country,
    resolved.lead_source,
    resolved.deal_type,
    resolved.forecast_category,
    resolved.probability,
    resolved.lost_reason,
    resolved.competitor,
    resolved.next_step,
    resolved.last_activity_at,
    resolved.deal_url,
    resolved.is_deleted,
    coalesce(
      resolved.deleted_at,
      case when resolved.merged_into_deal_id is not null then coalesce(resolved.merged_at, resolved.record_at) end,
      case when resolved.is_deleted then resolved.record_at end
    ) as removed_at,
    case
      when resolved.merged_into_deal_id is not null then 'merged'
      when resolved.is_deleted or resolved.deleted_at is not null then 'deleted'
    end as removed_reason,
    resolved.merged_into_deal_id
  from resolved
  left join current_stages
    on resolved.source_relation = current_stages.source_relation
      and resolved.pipeline_id = current_stages.pipeline_id
      and resolved.stage_id = current_stages.stage_id
)

select * from final
