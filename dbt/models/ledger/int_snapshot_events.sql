-- What the comparison of snapshots tells, as change rows. A move is dated by the snapshot that first shows it, a
-- closing by the day the row names for it where that lies between the two, an entry by the creation where the deal is
-- new. The first snapshot tells only "entered by then". A field with a history of its own is left to that history.
with changes as (
  select * from {{ ref('int_snapshot_changes') }}
),

context as (
  select * from {{ ref('stg_run_context') }}
),

histories as (
  select
    source_relation,
    count(stage_id) > 0 as tells_stages,
    count(amount_native) > 0 as tells_amounts,
    count(close_date) > 0 as tells_close_dates,
    count(forecast_category) > 0 as tells_forecast_categories,
    count(probability) > 0 as tells_probabilities
  from {{ ref('stg_deal_events') }}
  group by source_relation
),

last_told as (
  select
    events.source_relation,
    events.deal_id,
    changes.snapshot_number,
    max(events.event_at) as event_at
  from changes
  cross join context
  inner join {{ ref('stg_deal_events') }} as events
    on changes.source_relation = events.source_relation
      and changes.deal_id = events.deal_id
      and events.event_at < {{ utc_instant(add_days('changes.snapshot_on', 1), 'context.time_zone') }}
  where changes.is_first and events.stage_id is not null
  group by events.source_relation, events.deal_id, changes.snapshot_number
),

outcomes as (
  select
    source_relation,
    pipeline_id,
    stage_id,
    outcome
  from {{ ref('int_stage_ranks') }}
  where valid_to_at is null
),

stage_outcomes as (
  select
    source_relation,
    stage_id,
    max(outcome) as outcome
  from outcomes
  group by source_relation, stage_id
  having min(outcome) = max(outcome)
),

judged as (
  select
    changes.*,
    coalesce({{ closed_outcome('changes.status') }}, outcomes.outcome, stage_outcomes.outcome, 'open') <> 'open' as is_closed,
    coalesce(histories.tells_stages, false) as tells_stages,
    coalesce(histories.tells_amounts, false) as tells_amounts,
    coalesce(histories.tells_close_dates, false) as tells_close_dates,
    coalesce(histories.tells_forecast_categories, false) as tells_forecast_categories,
    coalesce(histories.tells_probabilities, false) as tells_probabilities,
    last_told.event_at as last_told_at,
    {{ utc_instant('changes.snapshot_on', 'context.time_zone') }} as snapshot_at,
    {{ utc_instant('changes.seen_before_on', 'context.time_zone') }} as seen_before_at,
    {{ utc_instant(add_days('changes.snapshot_on', 1), 'context.time_zone') }} as snapshot_ends_at,
    coalesce(changes.closed_at, {{ utc_instant('changes.close_date', 'context.time_zone') }}) as told_closed_at,
    {{ business_date('changes.created_at', 'context.time_zone') }} >= coalesce(changes.previous_on, changes.snapshot_on) as is_new_deal,
    {{ is_different(
      'lag(' ~ packed(['changes.pipeline_id', 'changes.stage_id', 'changes.status']) ~ ') over deal_line',
      packed(['changes.pipeline_id', 'changes.stage_id', 'changes.status'])
    ) }} as is_move,
    context.time_zone
  from changes
  cross join context
  left join histories on changes.source_relation = histories.source_relation
  left join last_told
    on changes.source_relation = last_told.source_relation
      and changes.deal_id = last_told.deal_id
      and changes.snapshot_number = last_told.snapshot_number
  left join outcomes
    on changes.source_relation = outcomes.source_relation
      and changes.pipeline_id = outcomes.pipeline_id
      and changes.stage_id = outcomes.stage_id
  left join stage_outcomes
    on changes.source_relation = stage_outcomes.source_relation
      and changes.stage_id = stage_outcomes.stage_id
  where changes.is_change
  window deal_line as (partition by changes.source_relation, changes.deal_id order by changes.snapshot_number)
),

-- greatest passes nulls over
placed as (
  select
    *,
    case
      when is_first and tells_stages and is_closed and last_told_at is not null then last_told_at
      when is_first and is_closed and told_closed_at < snapshot_ends_at then greatest(told_closed_at, created_at)
      when is_first and not is_closed and is_new_deal then created_at
      when not is_first and is_move and is_closed and told_closed_at > seen_before_at and told_closed_at < snapshot_ends_at
        then told_closed_at
      else snapshot_at
    end as event_at
  from judged
),

dated as (
  select
    *,
    case
      when not is_first then null
      when is_closed and told_closed_at < snapshot_ends_at then 'closed_at'
      when not coalesce(is_new_deal, previous_on is not null) then 'snapshot_first_seen'
    end as inference_rule,
    -- an instant that the row itself tells is no mere day
    case
      when is_closed and event_at = closed_at and closed_at > {{ utc_instant(business_date('closed_at', 'time_zone'), 'time_zone') }} then 'event'
      else 'day'
    end as time_precision
  from placed
),

-- a deal that had begun before it was seen was somewhere, nobody knows where
beginnings as (
  select
    source_relation,
    deal_id,
    created_at as event_at,
    '(open)' as stage_id,
    pipeline_id,
    owner_id,
    'created_at_unrecorded_stage' as inference_rule,
    extracted_at as first_extracted_at,
    is_initial_load
  from dated
  where is_first and not tells_stages and created_at < event_at
),

final as (
  select
    source_relation,
    deal_id,
    event_at,
    case when not tells_stages then stage_id end as stage_id,
    case when not tells_stages then pipeline_id end as pipeline_id,
    case when not tells_stages then coalesce({{ closed_outcome('status') }}, case when status is not null then 'open' end) end as status,
    case when not tells_amounts then amount_native end as amount_native,
    case when not tells_amounts then currency end as currency,
    case when not tells_close_dates then close_date end as close_date,
    case when not tells_stages then owner_id end as owner_id,
    case when not tells_forecast_categories then forecast_category end as forecast_category,
    case when not tells_probabilities then probability end as probability,
    case when not tells_stages then inference_rule end as inference_rule,
    time_precision,
    snapshot_number,
    extracted_at as first_extracted_at,
    is_initial_load
  from dated
  union all
  select
    source_relation,
    deal_id,
    event_at,
    stage_id,
    pipeline_id,
    'open' as status,
    null as amount_native,
    null as currency,
    null as close_date,
    owner_id,
    null as forecast_category,
    null as probability,
    inference_rule,
    'event' as time_precision,
    0 as snapshot_number,
    first_extracted_at,
    is_initial_load
  from beginnings
)

select * from final
