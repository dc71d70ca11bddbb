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
    coalesce(history.has_amount, false) as has_amount,
    coalesce(history.has_currency, false) as has_currency,
    coalesce(history.has_close_date, false) as has_close_date,
    coalesce(history.has_owner, false) as has_owner,
    coalesce(history.has_forecast_category, false) as has_forecast_category,
    coalesce(history.has_probability, false) as has_probability,
    -- the history knows more than the record: the record adds nothing
    coalesce(
      deals.modified_at < history.last_placed_at,
      deals.last_extracted_at < history.last_extracted_at,
      not deals.has_record
    ) as is_record_stale,
    {{ business_date('deals.created_at', 'context.time_zone') }} as created_on,
    {{ epoch_us('history.first_placed_at') }} - {{ epoch_us('deals.created_at') }} as first_gap_us,
    deals.created_at = {{ utc_instant(business_date('deals.created_at', 'context.time_zone'), 'context.time_zone') }} as is_created_date_only
  from {{ ref('int_deals') }} as deals
  cross join context
  left join {{ ref('int_deal_history') }} as history on deals.deal_sk = history.deal_sk
),

starts as (
  select
    *,
    coalesce(first_from_stage_id is not null
    and (first_from_stage_id <> first_stage_id or coalesce(first_from_pipeline_id, '') <> coalesce(first_pipeline_id, '')), false) as starts_with_move,
    coalesce(
      {{ business_date('first_placed_at', 'time_zone') }} = created_on and (is_created_date_only or first_time_precision = 'day'),
      false
    ) as starts_on_creation_day,
    case
      when record_outcome <> 'open' and not coalesce(last_stage_id = stage_id and last_pipeline_id = pipeline_id, false)
        then greatest(coalesce(record_closed_at, record_at), coalesce(last_placed_at, record_closed_at, record_at), coalesce(created_at, record_closed_at, record_at))
      else greatest(record_at, coalesce(last_placed_at, record_at), coalesce(created_at, record_at))
    end as record_placed_at
  from deals
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
    coalesce(currency, reporting_currency) as currency,
    close_date,
    owner_id,
    forecast_category,
    probability,
    created_at,
    record_closed_at,
    modified_at,
    record_placed_at,
    -- from when the record's values hold where the history tells none: a closed deal's from its closing
    case
      when record_outcome <> 'open' and last_stage_id = stage_id and last_pipeline_id = pipeline_id
        then last_stage_placed_at
      else record_placed_at
    end as record_value_at,
    is_record_stale,
    removed_at,
    removed_reason,
    coalesce(stage_rows, 0) as stage_rows,
    first_placed_at,
    first_recorded_at,
    first_place_in_instant,
    first_from_pipeline_id,
    first_from_stage_id,
    starts_with_move,
    first_from_stage_id is null and coalesce(first_gap_us > 0 and first_gap_us <= entry_tolerance_us, false) as starts_within_tolerance,
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
    time_zone
  from starts
)

select * from final
