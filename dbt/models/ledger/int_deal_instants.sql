{{ config(materialized='by_touched_deal') }}
-- One aggregate turns all changes of an instant into one row; instants whose rows disagree come in their solved order.
with events as (
  select * from {{ touched_rows(ref('int_deal_events'), ref('int_touched_deals')) }} as touched_events
),

tied as (
  select * from {{ touched_rows(ref('int_tie_order'), ref('int_touched_deals')) }} as touched_ties
),

tied_instants as (
  select
    deal_sk,
    placed_at,
    recorded_at
  from tied
  group by deal_sk, placed_at, recorded_at
),

plain as (
  select
    deal_sk,
    placed_at,
    recorded_at,
    cast(0 as int) as place_in_instant,
    false as order_uncertain,
    max(case when is_clamped then 1 else 0 end) = 1 as is_clamped,
    max(pipeline_id) as pipeline_id,
    max(stage_id) as stage_id,
    max(from_pipeline_id) as from_pipeline_id,
    max(from_stage_id) as from_stage_id,
    max(amount_native) as amount_native,
    max(currency) as currency,
    max(close_date) as close_date,
    max(owner_id) as owner_id,
    max(status) as status,
    max(forecast_category) as forecast_category,
    max(probability) as probability,
    max(source_event_id) as source_event_id,
    max(changed_by) as changed_by,
    -- beside a move, where the move is known from
    coalesce(max(case when stage_id is not null then change_source end), max(change_source)) as change_source,
    max(time_precision) as time_precision,
    max(case when is_bulk_flagged then 1 else 0 end) = 1 as is_bulk_flagged,
    max(inference_rule) as inference_rule,
    min(first_extracted_at) as first_extracted_at,
    min(known_on) as known_on,
    min(case when is_late then 1 else 0 end) = 1 as is_late,
    max(case when is_initial_load then 1 else 0 end) = 1 as is_initial_load
  from events
  group by deal_sk, placed_at, recorded_at
),

final as (
  select
    plain.deal_sk,
    plain.placed_at,
    plain.recorded_at,
    plain.place_in_instant,
    plain.order_uncertain,
    plain.is_clamped,
    plain.pipeline_id,
    plain.stage_id,
    plain.from_pipeline_id,
    plain.from_stage_id,
    plain.amount_native,
    plain.currency,
    plain.close_date,
    plain.owner_id,
    plain.status,
    plain.forecast_category,
    plain.probability,
    plain.source_event_id,
    plain.changed_by,
    plain.change_source,
    plain.time_precision,
    plain.is_bulk_flagged,
    plain.inference_rule,
    plain.first_extracted_at,
    plain.known_on,
    plain.is_late,
    plain.is_initial_load
  from plain
  left join tied_instants
    on plain.deal_sk = tied_instants.deal_sk
      and plain.placed_at = tied_instants.placed_at
      and plain.recorded_at = tied_instants.recorded_at
  where tied_instants.deal_sk is null
  union all
  select
    deal_sk,
    placed_at,
    recorded_at,
    place_in_instant,
    order_uncertain,
    is_clamped,
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
    inference_rule,
    first_extracted_at,
    known_on,
    is_late,
    is_initial_load
  from tied
)

select * from final
