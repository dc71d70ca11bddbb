{{ config(materialized='by_touched_deal') }}
-- The time line with its values carried forward by one sort. Versions and transitions are the rows in which something
-- differs from before.
with time_line as (
  select * from {{ ref('int_deal_time_line') }}
),

starts as (
  select * from {{ touched_rows(ref('int_deal_starts'), ref('int_touched_deals')) }} as touched_starts
),

carried_forward as (
  select
    deal_sk,
    placed_at,
    line_part,
    recorded_at,
    place_in_instant,
    order_uncertain,
    is_clamped,
    inference_rule,
    is_left_truncated,
    reported_from_pipeline_id,
    reported_from_stage_id,
    source_event_id,
    changed_by,
    change_source,
    time_precision,
    is_bulk_flagged,
    known_on,
    max(known_on) over deal_so_far as all_known_on,
    is_initial_load,
    {{ carried('pipeline_id', 'deal_so_far') }} as pipeline_id,
    {{ carried('stage_id', 'deal_so_far') }} as stage_id,
    {{ carried('stage_rank', 'deal_so_far') }} as stage_rank,
    {{ carried('stage_outcome', 'deal_so_far') }} as stage_outcome,
    {{ carried('status', 'deal_so_far') }} as told_status,
    {{ carried('amount_native', 'deal_so_far') }} as amount_native,
    {{ carried('currency', 'deal_so_far') }} as currency,
    {{ carried('close_date', 'deal_so_far') }} as close_date,
    {{ carried('owner_id', 'deal_so_far') }} as owner_id,
    {{ carried('forecast_category', 'deal_so_far') }} as forecast_category,
    {{ carried('probability', 'deal_so_far') }} as probability,
    nullif({{ carried('removed_reason', 'deal_so_far') }}, '') as removed_reason
  from time_line
  window deal_so_far as (
    partition by deal_sk
    order by placed_at, line_part, recorded_at, place_in_instant
    rows between unbounded preceding and current row
  )
),

-- the status of a closed deal in an open stage makes a stage of its own
stated as (
  select
    line.deal_sk,
    line.placed_at,
    line.line_part,
    line.recorded_at,
    line.place_in_instant,
    line.order_uncertain,
    line.is_clamped,
    line.inference_rule,
    line.is_left_truncated,
    line.reported_from_pipeline_id,
    line.reported_from_stage_id,
    line.source_event_id,
    line.changed_by,
    line.change_source,
    line.time_precision,
    line.is_bulk_flagged,
    line.known_on,
    line.all_known_on,
    line.is_initial_load,
    line.pipeline_id,
    case
      when line.stage_outcome in ('won', 'lost', 'closed_other') then line.stage_id
      when line.told_status in ('won', 'lost', 'closed_other') then concat('(', line.told_status, ')')
      else line.stage_id
    end as stage_id,
    cast(case
      when line.stage_outcome not in ('won', 'lost', 'closed_other') and line.told_status in ('won', 'lost', 'closed_other') then 1000
      else line.stage_rank
    end as int) as stage_rank,
    case
      when line.told_status in ('won', 'lost', 'closed_other') and line.stage_outcome not in ('won', 'lost', 'closed_other') then line.told_status
      when line.stage_outcome in ('won', 'lost', 'closed_other') then line.stage_outcome
      else 'open'
    end as status,
    line.stage_outcome,
    line.amount_native,
    line.currency,
    line.close_date,
    line.owner_id,
    line.forecast_category,
    line.probability,
    line.removed_reason
  from carried_forward as line
  where line.stage_id is not null
),

-- a field without a history is known from the record only: for a closed deal from its last closing on,
-- for an open one from the day the record was read; never before (the outcome would leak into past days)
settled as (
  select
    *,
    max(case when status = 'open' then 1 else 0 end) over (
      partition by deal_sk
      order by placed_at, line_part, recorded_at, place_in_instant
      rows between current row and unbounded following
    ) = 0 as stays_closed
  from stated
),

completed as (
  select
    line.deal_sk,
    line.placed_at,
    line.line_part,
    line.recorded_at,
    line.place_in_instant,
    line.order_uncertain,
    line.is_clamped,
    line.inference_rule,
    line.is_left_truncated,
    line.reported_from_pipeline_id,
    line.reported_from_stage_id,
    line.source_event_id,
    line.changed_by,
    line.change_source,
    line.time_precision,
    line.is_bulk_flagged,
    line.known_on,
    line.all_known_on,
    line.is_initial_load,
    line.pipeline_id,
    line.stage_id,
    line.stage_rank,
    line.status,
    line.stage_outcome,
    case
      when starts.has_amount then line.amount_native
      when line.stays_closed or line.placed_at >= starts.record_placed_at then starts.amount_native
    end as amount_native,
    coalesce(case when starts.has_currency then line.currency end, starts.currency, starts.reporting_currency) as currency,
    case
      when starts.has_close_date then line.close_date
      when line.stays_closed or line.placed_at >= starts.record_placed_at then starts.close_date
    end as close_date,
    case when starts.has_owner then line.owner_id else starts.owner_id end as owner_id,
    case
      when starts.has_forecast_category then line.forecast_category
      when line.stays_closed or line.placed_at >= starts.record_placed_at then starts.forecast_category
    end as forecast_category,
    case
      when starts.has_probability then line.probability
      when line.stays_closed or line.placed_at >= starts.record_placed_at then starts.probability
    end as probability,
    line.removed_reason,
    starts.has_amount,
    starts.has_close_date,
    starts.is_amount_told,
    starts.is_close_date_told,
    starts.time_zone
  from settled as line
  inner join starts on line.deal_sk = starts.deal_sk
),

packed as (
  select
    *,
    {{ packed([
      'pipeline_id', 'stage_id', 'status', 'amount_native', 'currency', 'close_date', 'owner_id',
      'forecast_category', 'probability', 'removed_reason'
    ]) }} as all_values
  from completed
),

compared as (
  select
    *,
    lag(pipeline_id) over deal_line as previous_pipeline_id,
    lag(stage_id) over deal_line as previous_stage_id,
    lag(status) over deal_line as previous_status,
    lag(close_date) over deal_line as previous_close_date,
    lag(all_values) over deal_line as previous_values
  from packed
  window deal_line as (partition by deal_sk order by placed_at, line_part, recorded_at, place_in_instant)
),

flagged as (
  select
    *,
    previous_stage_id is null
    or previous_stage_id <> stage_id
    or previous_pipeline_id <> pipeline_id
    or previous_status <> status as is_new_state,
    {{ is_different('previous_values', 'all_values') }} as is_new_version,
    case when previous_status = 'open' and status = 'open' and close_date > previous_close_date then 1 else 0 end as is_push
  from compared
),

final as (
  select
    deal_sk,
    row_number() over deal_line as line_number,
    placed_at,
    recorded_at,
    {{ business_date('placed_at', 'time_zone') }} as business_date,
    known_on,
    -- the first state also says what came before any stage, such as a removal
    case when previous_stage_id is null then all_known_on else known_on end as values_known_on,
    is_initial_load,
    order_uncertain,
    is_clamped,
    is_left_truncated,
    inference_rule,
    reported_from_pipeline_id,
    reported_from_stage_id,
    source_event_id,
    changed_by,
    change_source,
    time_precision,
    is_bulk_flagged,
    pipeline_id,
    stage_id,
    stage_rank,
    stage_outcome,
    status,
    previous_pipeline_id,
    previous_stage_id,
    previous_status,
    amount_native,
    currency,
    close_date,
    owner_id,
    forecast_category,
    probability,
    removed_reason,
    case when has_amount then 'history' when amount_native is not null then 'current_values' when is_amount_told then 'history' else 'none' end as amount_asof_quality,
    case when has_close_date then 'history' when close_date is not null then 'current_values' when is_close_date_told then 'history' else 'none' end as close_date_asof_quality,
    cast(sum(is_push) over deal_line as int) as push_count_so_far,
    is_new_state,
    is_new_version
  from flagged
  where is_new_version
  window deal_line as (partition by deal_sk order by placed_at, line_part, recorded_at, place_in_instant)
)

select * from final
