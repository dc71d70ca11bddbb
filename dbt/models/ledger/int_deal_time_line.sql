{{ config(materialized='view') }}
-- The time line of each touched deal: told changes, inferred entries, the current record and removals, each stage with the
-- rank and outcome it had then.
with instants as (
  select * from {{ touched_rows(ref('int_deal_instants'), ref('int_touched_deals')) }} as touched_instants
),

starts as (
  select * from {{ touched_rows(ref('int_deal_starts'), ref('int_touched_deals')) }} as touched_starts
),

told as (
  select
    instants.*,
    coalesce(
      instants.stage_id is not null
      and instants.placed_at = starts.first_placed_at
      and instants.recorded_at = starts.first_recorded_at
      and instants.place_in_instant = starts.first_place_in_instant,
      false
    ) as is_first,
    starts.created_at,
    starts.starts_within_tolerance,
    starts.starts_late
  from instants
  inner join starts on instants.deal_sk = starts.deal_sk
),

told_changes as (
  select
    deal_sk,
    case when is_first and starts_within_tolerance then created_at else placed_at end as placed_at,
    0 as line_part,
    recorded_at,
    place_in_instant,
    order_uncertain,
    is_clamped,
    case
      when is_first and starts_within_tolerance then 'created_at_tolerance'
      when is_clamped then 'clamped'
      else inference_rule
    end as inference_rule,
    is_first and starts_late as is_left_truncated,
    pipeline_id,
    stage_id,
    from_pipeline_id,
    from_stage_id,
    amount_native,
    currency,
    close_date,
    owner_id,
    status,
    forecast_category,
    probability,
    source_event_id,
    changed_by,
    change_source,
    time_precision,
    is_bulk_flagged,
    known_on,
    is_initial_load,
    cast(null as {{ dbt.type_string() }}) as removed_reason
  from told
),

-- where the history does not say how the deal began
inferred_entries as (
  select
    deal_sk,
    coalesce(created_at, record_placed_at) as placed_at,
    case
      when starts_with_old_value then first_from_pipeline_id
      else pipeline_id
    end as pipeline_id,
    case
      when starts_with_old_value then first_from_stage_id
      when record_outcome = 'open' then stage_id
      else '(open)'
    end as stage_id,
    case
      when starts_with_old_value then 'created_at_from_old_value'
      when created_at is null then 'snapshot_first_seen'
      when record_outcome = 'open' then 'created_at_current_stage'
      else 'created_at_unrecorded_stage'
    end as inference_rule,
    case when created_at is null then 'day' else 'event' end as time_precision,
    case when starts_with_old_value then first_known_on else deal_known_on end as told_known_on,
    case when starts_with_old_value then is_first_of_initial_load else is_deal_of_initial_load end as is_initial_load,
    time_zone
  from starts
  where (starts_with_old_value and created_at is not null)
    or (
      stage_rows = 0 and stage_id is not null
      and (record_outcome = 'open' or created_at < coalesce(closing_placed_at, record_placed_at))
    )
),

-- a closing that only the record tells, and the record itself
record_rows as (
  select
    starts.*,
    closing_placed_at as placed_at,
    1 as line_part
  from starts
  where has_record and not is_record_stale and closing_placed_at is not null
  union all
  select
    starts.*,
    record_placed_at as placed_at,
    2 as line_part
  from starts
  where has_record and not is_record_stale
),

current_records as (
  select
    deal_sk,
    placed_at,
    line_part,
    case when stage_rows = 0 or stage_id is not null then pipeline_id end as pipeline_id,
    case when stage_rows = 0 and stage_id is null then '(open)' else stage_id end as stage_id,
    case when line_part = 2 then amount_native end as amount_native,
    case when line_part = 2 then currency end as currency,
    case when line_part = 2 then close_date end as close_date,
    case when line_part = 2 then owner_id end as owner_id,
    record_outcome as status,
    case when line_part = 2 then forecast_category end as forecast_category,
    case when line_part = 2 then probability end as probability,
    case
      when line_part = 1 then 'closed_at'
      when stage_rows = 0 and created_at is null then 'snapshot_first_seen'
      else 'current_stage'
    end as inference_rule,
    case
      when line_part = 1 and record_closed_at = {{ utc_instant(business_date('record_closed_at', 'time_zone'), 'time_zone') }} then 'day'
      when line_part = 2 and modified_at is null then 'day'
      else 'event'
    end as time_precision,
    record_known_on as told_known_on,
    is_record_of_initial_load as is_initial_load,
    time_zone
  from record_rows
),

absences as (
  select
    starts.deal_sk,
    {{ utc_instant('absences.removed_on', 'starts.time_zone') }} as removed_at,
    case when absences.removed_on is not null then {{ utc_instant('absences.returned_on', 'starts.time_zone') }} end as returned_at,
    case when not absences.is_removal_of_initial_load then removal_known.known_on end as removal_known_on,
    case when not absences.is_return_of_initial_load then return_known.known_on end as return_known_on,
    absences.is_removal_of_initial_load,
    absences.is_return_of_initial_load,
    starts.time_zone
  from {{ ref('int_deal_absences') }} as absences
  inner join {{ ref('int_deals') }} as deals
    on absences.source_relation = deals.source_relation
      and absences.deal_id = deals.deal_id
  inner join starts on deals.deal_sk = starts.deal_sk
  left join {{ ref('int_known_on') }} as removal_known on absences.removal_extracted_at = removal_known.first_extracted_at
  left join {{ ref('int_known_on') }} as return_known on absences.return_extracted_at = return_known.first_extracted_at
  where starts.removed_at is null and absences.removed_on is not null
),

-- a removal that is over is told by a blank reason
removals as (
  select
    deal_sk,
    removed_at as placed_at,
    3 as line_part,
    'vanished' as removed_reason,
    removal_known_on as told_known_on,
    is_removal_of_initial_load as is_initial_load,
    time_zone
  from absences
  union all
  select
    deal_sk,
    returned_at as placed_at,
    -1 as line_part,
    '' as removed_reason,
    return_known_on as told_known_on,
    is_return_of_initial_load as is_initial_load,
    time_zone
  from absences
  where returned_at is not null
  union all
  select
    deal_sk,
    greatest(removed_at, coalesce(first_placed_at, created_at, removed_at)) as placed_at,
    3 as line_part,
    removed_reason,
    record_known_on as told_known_on,
    is_record_of_initial_load as is_initial_load,
    time_zone
  from starts
  where removed_at is not null
),

time_line as (
  select * from told_changes
  union all
  select
    inferred_entries.deal_sk,
    inferred_entries.placed_at,
    -1 as line_part,
    inferred_entries.placed_at as recorded_at,
    0 as place_in_instant,
    false as order_uncertain,
    false as is_clamped,
    inferred_entries.inference_rule,
    false as is_left_truncated,
    inferred_entries.pipeline_id,
    inferred_entries.stage_id,
    null as from_pipeline_id,
    null as from_stage_id,
    null as amount_native,
    null as currency,
    null as close_date,
    null as owner_id,
    null as status,
    null as forecast_category,
    null as probability,
    null as source_event_id,
    null as changed_by,
    case when inferred_entries.inference_rule = 'created_at_from_old_value' then 'history' else 'snapshot' end as change_source,
    inferred_entries.time_precision,
    false as is_bulk_flagged,
    greatest(
      {{ business_date('inferred_entries.placed_at', 'inferred_entries.time_zone') }},
      inferred_entries.told_known_on
    ) as known_on,
    inferred_entries.is_initial_load,
    null as removed_reason
  from inferred_entries
  union all
  select
    deal_sk,
    placed_at,
    line_part,
    placed_at as recorded_at,
    0 as place_in_instant,
    false as order_uncertain,
    false as is_clamped,
    inference_rule,
    false as is_left_truncated,
    pipeline_id,
    stage_id,
    null as from_pipeline_id,
    null as from_stage_id,
    amount_native,
    currency,
    close_date,
    owner_id,
    status,
    forecast_category,
    probability,
    null as source_event_id,
    null as changed_by,
    'snapshot' as change_source,
    time_precision,
    false as is_bulk_flagged,
    greatest({{ business_date('placed_at', 'time_zone') }}, told_known_on) as known_on,
    is_initial_load,
    null as removed_reason
  from current_records
  union all
  select
    deal_sk,
    placed_at,
    line_part,
    placed_at as recorded_at,
    0 as place_in_instant,
    false as order_uncertain,
    false as is_clamped,
    null as inference_rule,
    false as is_left_truncated,
    null as pipeline_id,
    null as stage_id,
    null as from_pipeline_id,
    null as from_stage_id,
    null as amount_native,
    null as currency,
    null as close_date,
    null as owner_id,
    null as status,
    null as forecast_category,
    null as probability,
    null as source_event_id,
    null as changed_by,
    'snapshot' as change_source,
    'event' as time_precision,
    false as is_bulk_flagged,
    greatest({{ business_date('placed_at', 'time_zone') }}, told_known_on) as known_on,
    is_initial_load,
    removed_reason
  from removals
),

final as (
  select
    time_line.deal_sk,
    time_line.placed_at,
    cast(time_line.line_part as int) as line_part,
    time_line.recorded_at,
    cast(time_line.place_in_instant as int) as place_in_instant,
    time_line.order_uncertain,
    time_line.is_clamped,
    time_line.inference_rule,
    time_line.is_left_truncated,
    time_line.pipeline_id,
    time_line.stage_id,
    cast(case when time_line.stage_id is not null then coalesce(ranks.stage_rank, -1) end as int) as stage_rank,
    case
      when time_line.stage_id = '(open)' then 'open'
      when time_line.stage_id is not null then coalesce(ranks.outcome, 'unknown')
    end as stage_outcome,
    time_line.from_pipeline_id as reported_from_pipeline_id,
    time_line.from_stage_id as reported_from_stage_id,
    time_line.amount_native,
    time_line.currency,
    time_line.close_date,
    time_line.owner_id,
    time_line.status,
    time_line.forecast_category,
    time_line.probability,
    time_line.source_event_id,
    time_line.changed_by,
    time_line.change_source,
    time_line.time_precision,
    time_line.is_bulk_flagged,
    time_line.known_on,
    time_line.is_initial_load,
    time_line.removed_reason
  from time_line
  inner join starts on time_line.deal_sk = starts.deal_sk
  left join {{ ref('int_stage_ranks') }} as ranks
    on starts.source_relation = ranks.source_relation
      and time_line.pipeline_id = ranks.pipeline_id
      and time_line.stage_id = ranks.stage_id
      and time_line.placed_at >= ranks.valid_from_at
      and (time_line.placed_at < ranks.valid_to_at or ranks.valid_to_at is null)
)

select * from final
