{{ config(materialized='by_touched_deal') }}
-- Per deal: what its history and its record say of how it began and how it stands, side by side.
with context as (
  select * from {{ ref('stg_run_context') }}
),

deals as (
  select
    deals.*,
    context.time_zone,
    context.entry_tolerance_seconds * cast(1000000 as bigint) as entry_tolerance_us,
    context.currency as reporting_currency,
    history.stage_rows,
    history.last_placed_at,
    history.first_placed_at,
    history.first_recorded_at,
    history.first_place_in_instant,
    history.first_pipeline_id,
    history.first_stage_id,
    nullif(history.first_from_pipeline_id, '') as first_from_pipeline_id,
    nullif(history.first_from_stage_id, '') as first_from_stage_id,
    history.first_time_precision,
    history.last_stage_placed_at,
    history.last_stage_id,
    history.last_pipeline_id,
    history.last_status,
    history.first_known_on,
    history.is_first_of_initial_load,
    coalesce(history.has_amount, false) as has_amount,
    coalesce(history.has_currency, false) as has_currency,
    coalesce(history.has_close_date, false) as has_close_date,
    coalesce(history.has_owner, false) as has_owner,
    coalesce(history.has_forecast_category, false) as has_forecast_category,
    coalesce(history.has_probability, false) as has_probability,
    coalesce(told_fields.is_amount_told, false) as is_amount_told,
    coalesce(told_fields.is_close_date_told, false) as is_close_date_told,
    -- the history knows more than the record: the record adds nothing
    coalesce(
      deals.modified_at < history.last_told_at,
      deals.last_extracted_at < history.last_extracted_at,
      not deals.has_record
    ) as is_record_stale,
    {{ business_date('deals.created_at', 'context.time_zone') }} as created_on,
    {{ epoch_us('history.first_placed_at') }} - {{ epoch_us('deals.created_at') }} as first_gap_us,
    deals.created_at = {{ utc_instant(business_date('deals.created_at', 'context.time_zone'), 'context.time_zone') }} as is_created_date_only
  from {{ touched_rows(ref('int_deals'), ref('int_touched_deals')) }} as deals
  cross join context
  left join {{ ref('int_deal_history') }} as history on deals.deal_sk = history.deal_sk
  left join {{ ref('int_told_fields') }} as told_fields on deals.source_relation = told_fields.source_relation
),

starts as (
  select
    *,
    -- an old value tells the stage at creation, also where the first row repeats it later
    coalesce(
      first_from_stage_id is not null
      and (first_from_stage_id <> first_stage_id or first_from_pipeline_id <> first_pipeline_id or first_gap_us > 0),
      false
    ) as starts_with_old_value,
    first_from_stage_id is null and coalesce(first_gap_us > 0 and first_gap_us <= entry_tolerance_us, false) as starts_within_tolerance,
    coalesce(
      {{ business_date('first_placed_at', 'time_zone') }} = created_on and (is_created_date_only or first_time_precision = 'day'),
      false
    ) as starts_on_creation_day,
    coalesce(
      record_outcome <> 'open' and last_stage_id = stage_id and last_pipeline_id = pipeline_id
      and (is_stage_closed or last_status = record_outcome),
      false
    ) as is_closed_by_history
  from deals
),

-- greatest passes nulls over
ends as (
  select
    *,
    case
      when record_outcome <> 'open' and record_closed_at is not null and not is_closed_by_history
        then greatest(record_closed_at, last_stage_placed_at, created_at)
    end as closing_placed_at
  from starts
),

final as (
  select
    deal_sk,
    source_relation,
    has_record,
    pipeline_id,
    stage_id,
    record_outcome,
    amount_native,
    currency,
    reporting_currency,
    close_date,
    owner_id,
    forecast_category,
    probability,
    created_at,
    record_closed_at,
    modified_at,
    closing_placed_at,
    greatest(record_at, last_placed_at, created_at, closing_placed_at) as record_placed_at,
    is_record_of_initial_load,
    is_deal_of_initial_load,
    record_known_on,
    deal_known_on,
    first_known_on,
    is_first_of_initial_load,
    is_record_stale,
    removed_at,
    removed_reason,
    coalesce(stage_rows, 0) as stage_rows,
    first_placed_at,
    first_recorded_at,
    first_place_in_instant,
    first_from_pipeline_id,
    first_from_stage_id,
    starts_with_old_value,
    starts_within_tolerance,
    not starts_on_creation_day and case
      when first_from_stage_id is not null then created_at is null
      else coalesce(first_gap_us > entry_tolerance_us, false)
    end as starts_late,
    has_amount,
    has_currency,
    has_close_date,
    has_owner,
    has_forecast_category,
    has_probability,
    is_amount_told,
    is_close_date_told,
    time_zone
  from ends
)

select * from final
