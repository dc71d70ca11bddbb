{{ config(materialized='by_touched_deal') }}
-- Transitions are the versions whose (pipeline, stage, status) differs from the state before.
-- Decided against that state, never against the old value a CRM reports.
with moves as (
  select * from {{ touched_rows(ref('int_deal_states'), ref('int_touched_deals')) }} as touched_states
  where is_new_state
),

context as (
  select * from {{ ref('stg_run_context') }}
),

deals as (
  select
    deal_sk,
    deal_key,
    source_relation,
    deal_id
  from {{ ref('int_deals') }}
),

-- the rank of the stage left, at the time of the move
ranked as (
  select
    moves.*,
    deals.deal_key,
    deals.source_relation,
    deals.deal_id,
    cast(case
      when moves.previous_stage_id is null then null
      else coalesce(ranks.stage_rank, case when moves.previous_stage_id in ('(won)', '(lost)', '(closed_other)') then 1000 end, -1)
    end as int) as from_rank
  from moves
  inner join deals on moves.deal_sk = deals.deal_sk
  left join {{ ref('int_stage_ranks') }} as ranks
    on deals.source_relation = ranks.source_relation
      and moves.previous_pipeline_id = ranks.pipeline_id
      and moves.previous_stage_id = ranks.stage_id
      and moves.placed_at >= ranks.valid_from_at
      and (moves.placed_at < ranks.valid_to_at or ranks.valid_to_at is null)
),

sequenced as (
  select
    *,
    row_number() over deal_line as transition_number,
    lead(placed_at) over deal_line as exited_at,
    lead(business_date) over deal_line as exited_date,
    lead(stage_id) over deal_line as next_stage_id,
    lead(pipeline_id) over deal_line as next_pipeline_id,
    lead(status) over deal_line as next_status,
    row_number() over (partition by deal_sk, pipeline_id, stage_id order by line_number) as visit_number,
    row_number() over (
      partition by deal_sk, recorded_at, pipeline_id, stage_id
      order by line_number
    ) as alike_number
  from ranked
  window deal_line as (partition by deal_sk order by line_number)
),

short_visits as (
  select
    sequenced.*,
    coalesce(
      next_stage_id = previous_stage_id
      and next_pipeline_id = previous_pipeline_id
      and next_status = previous_status
      and {{ epoch_us('exited_at') }} - {{ epoch_us('placed_at') }} < context.transient_seconds * cast(1000000 as bigint),
      false
    ) as is_short
  from sequenced
  cross join context
),

-- with the short visits out, a row equal to the last kept state is the way back
returns as (
  select
    *,
    case
      when is_short then false
      else coalesce(
        lag({{ packed(['pipeline_id', 'stage_id', 'status']) }}) over (partition by deal_sk, is_short order by line_number)
        = {{ packed(['pipeline_id', 'stage_id', 'status']) }},
        false
      )
    end as is_return
  from short_visits
),

final as (
  select
    deal_sk,
    deal_key,
    source_relation,
    deal_id,
    {{ hash_key(['source_relation', 'deal_id', epoch_us('recorded_at'), 'pipeline_id', 'stage_id', 'alike_number']) }} as transition_id,
    cast(transition_number as int) as transition_number,
    placed_at as transitioned_at,
    recorded_at as recorded_at_utc,
    exited_at,
    business_date,
    exited_date,
    previous_pipeline_id as from_pipeline_id,
    pipeline_id as to_pipeline_id,
    previous_stage_id as from_stage_id,
    stage_id as to_stage_id,
    from_rank,
    stage_rank as to_rank,
    previous_status as from_status,
    status as to_status,
    case
      when previous_stage_id is null then 'entry'
      when previous_pipeline_id <> pipeline_id then 'pipeline_switch'
      when status <> 'open' and previous_status = status then 'closed_move'
      when status <> 'open' and previous_status <> 'open' then 'outcome_correction'
      when status <> 'open' then status
      when previous_status <> 'open' then 'reopen'
      when from_rank = -1 or stage_rank = -1 then 'unknown_stage'
      when stage_rank < from_rank then 'backward'
      when stage_rank > from_rank + 1 then 'skip'
      else 'forward'
    end as transition_type,
    cast(visit_number as int) as visit_number,
    amount_native,
    currency,
    close_date,
    forecast_category,
    probability,
    owner_id,
    push_count_so_far,
    changed_by,
    change_source,
    time_precision,
    inference_rule,
    is_short or is_return as is_transient,
    is_bulk_flagged,
    order_uncertain,
    is_clamped,
    is_left_truncated,
    reported_from_pipeline_id,
    reported_from_stage_id,
    known_on,
    source_event_id,
    removed_reason
  from returns
)

select * from final
