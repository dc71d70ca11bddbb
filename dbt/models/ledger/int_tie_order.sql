{{ config(materialized='by_touched_deal') }}
-- The order of changes recorded at one instant. Only instants whose rows disagree come here.
-- First a walk old value -> new value that uses every row once (preferably one that starts at the state before),
-- then the source's sequence, then a row equal to the state before, then stage rank, unknown stages, closed stages.
with recursive events as (
  select
    *,
    case when stage_id is not null then concat(pipeline_id, '|', stage_id) end as state,
    case when from_stage_id is not null then concat(from_pipeline_id, '|', from_stage_id) end as from_state
  from {{ touched_rows(ref('int_deal_events'), ref('int_touched_deals')) }} as touched_events
),

instants as (
  select
    deal_sk,
    placed_at,
    recorded_at,
    count(stage_id) as stage_rows,
    count(*) as all_rows,
    count(distinct sequence_number) as sequences,
    coalesce(min(state) <> max(state), false) as has_stage_conflict,
    coalesce(min(amount_native) <> max(amount_native), false)
    or coalesce(min(close_date) <> max(close_date), false)
    or coalesce(min(owner_id) <> max(owner_id), false)
    or coalesce(min(status) <> max(status), false)
    or coalesce(min(currency) <> max(currency), false) as has_value_conflict
  from events
  group by deal_sk, placed_at, recorded_at
  having count(*) > 1
),

tied as (
  select * from instants
  where has_stage_conflict or has_value_conflict
),

instants_before as (
  select
    tied.deal_sk,
    tied.placed_at,
    tied.recorded_at,
    max({{ packed(['events.placed_at', 'events.recorded_at']) }}) as before_instant
  from tied
  inner join events
    on tied.deal_sk = events.deal_sk
      and events.stage_id is not null
      and (events.placed_at < tied.placed_at or (events.placed_at = tied.placed_at and events.recorded_at < tied.recorded_at))
  group by tied.deal_sk, tied.placed_at, tied.recorded_at
),

states_before as (
  select
    instants_before.deal_sk,
    instants_before.placed_at,
    instants_before.recorded_at,
    min(events.state) as state_before
  from instants_before
  inner join events
    on instants_before.deal_sk = events.deal_sk
      and instants_before.before_instant = {{ packed(['events.placed_at', 'events.recorded_at']) }}
      and events.stage_id is not null
  group by instants_before.deal_sk, instants_before.placed_at, instants_before.recorded_at
  having min(events.state) = max(events.state)
),

numbered as (
  select
    events.*,
    states_before.state_before,
    tied.stage_rows,
    tied.all_rows,
    tied.sequences,
    row_number() over (
      partition by events.deal_sk, events.placed_at, events.recorded_at
      order by
        events.sequence_number nulls last,
        case when events.stage_id is null then 1 else 0 end,
        case when events.state = states_before.state_before then 0 else 1 end,
        case when ranks.outcome in ('won', 'lost', 'closed_other') then 1 else 0 end,
        ranks.stage_rank nulls last,
        events.stage_id nulls last,
        events.pipeline_id nulls last,
        events.from_stage_id nulls last,
        events.from_pipeline_id nulls last,
        events.first_extracted_at,
        events.source_event_id nulls last,
        events.amount_native nulls last,
        events.close_date nulls last,
        events.owner_id nulls last,
        events.status nulls last,
        events.changed_by nulls last,
        events.currency nulls last,
        events.forecast_category nulls last,
        events.probability nulls last,
        events.time_precision,
        events.change_source,
        events.is_bulk_flagged
    ) as row_in_instant
  from tied
  inner join events
    on tied.deal_sk = events.deal_sk
      and tied.placed_at = events.placed_at
      and tied.recorded_at = events.recorded_at
  inner join {{ ref('int_deals') }} as deals on events.deal_sk = deals.deal_sk
  left join states_before
    on tied.deal_sk = states_before.deal_sk
      and tied.placed_at = states_before.placed_at
      and tied.recorded_at = states_before.recorded_at
  left join {{ ref('int_stage_ranks') }} as ranks
    on deals.source_relation = ranks.source_relation
      and events.pipeline_id = ranks.pipeline_id
      and events.stage_id = ranks.stage_id
      and events.placed_at >= ranks.valid_from_at
      and (events.placed_at < ranks.valid_to_at or ranks.valid_to_at is null)
),

walks as (
  select
    deal_sk,
    placed_at,
    recorded_at,
    stage_rows,
    state,
    from_state as start_state,
    state_before,
    1 as steps,
    cast(concat('|', row_in_instant, '|') as {{ dbt.type_string() }}) as walk
  from numbered
  where stage_rows between 2 and 6 and stage_id is not null and from_stage_id is not null
  union all
  select
    walks.deal_sk,
    walks.placed_at,
    walks.recorded_at,
    walks.stage_rows,
    numbered.state,
    walks.start_state,
    walks.state_before,
    walks.steps + 1 as steps,
    cast(concat(walks.walk, numbered.row_in_instant, '|') as {{ dbt.type_string() }}) as walk
  from walks
  inner join numbered
    on walks.deal_sk = numbered.deal_sk
      and walks.placed_at = numbered.placed_at
      and walks.recorded_at = numbered.recorded_at
      and walks.state = numbered.from_state
      and numbered.stage_id is not null
  where position(concat('|', numbered.row_in_instant, '|') in walks.walk) = 0
),

whole_walks as (
  select
    deal_sk,
    placed_at,
    recorded_at,
    walk,
    case when start_state = state_before then 0 else 1 end as starts_elsewhere
  from walks
  where steps = stage_rows
),

ranked_walks as (
  select
    deal_sk,
    placed_at,
    recorded_at,
    walk,
    count(*) over (partition by deal_sk, placed_at, recorded_at, starts_elsewhere) as equally_good,
    row_number() over (partition by deal_sk, placed_at, recorded_at order by starts_elsewhere, walk) as best_first
  from whole_walks
),

final as (
  select
    numbered.deal_sk,
    numbered.placed_at,
    numbered.recorded_at,
    numbered.is_clamped,
    numbered.pipeline_id,
    numbered.stage_id,
    numbered.from_pipeline_id,
    numbered.from_stage_id,
    numbered.amount_native,
    numbered.currency,
    numbered.close_date,
    numbered.owner_id,
    numbered.status,
    numbered.forecast_category,
    numbered.probability,
    numbered.sequence_number,
    numbered.source_event_id,
    numbered.changed_by,
    numbered.change_source,
    numbered.time_precision,
    numbered.is_bulk_flagged,
    numbered.inference_rule,
    numbered.first_extracted_at,
    numbered.known_on,
    numbered.is_late,
    numbered.is_initial_load,
    cast(case
      when ranked_walks.walk is null or (ranked_walks.equally_good > 1 and numbered.sequences = numbered.all_rows)
        then numbered.row_in_instant
      when numbered.stage_id is null then 1000 + numbered.row_in_instant
      else position(concat('|', numbered.row_in_instant, '|') in ranked_walks.walk)
    end as int) as place_in_instant,
    coalesce(ranked_walks.equally_good, 2) > 1 and numbered.sequences <> numbered.all_rows as order_uncertain
  from numbered
  left join ranked_walks
    on numbered.deal_sk = ranked_walks.deal_sk
      and numbered.placed_at = ranked_walks.placed_at
      and numbered.recorded_at = ranked_walks.recorded_at
      and ranked_walks.best_first = 1
)

select * from final
