-- The time line of each deal: told changes, inferred entries, the current record and removals in one order,
-- values carried forward by one sort. Versions and transitions are the rows in which something differs from before.
with context as (
  select * from {{ ref('stg_run_context') }}
),

instants as (
  select * from {{ ref('int_deal_instants') }}
),

deals as (
  select
    deals.*,
    context.time_zone,
    context.entry_tolerance_seconds,
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
    first_from_stage_id is not null
    and (first_from_stage_id <> first_stage_id or coalesce(first_from_pipeline_id, '') <> coalesce(first_pipeline_id, '')) as starts_with_move,
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

told as (
  select
    instants.deal_sk,
    case
      when is_first and starts.first_from_stage_id is null and starts.first_gap_us > 0
        and starts.first_gap_us <= starts.entry_tolerance_seconds * cast(1000000 as bigint)
        then starts.created_at
      else instants.placed_at
    end as placed_at,
    instants.recorded_at,
    instants.place_in_instant,
    instants.order_uncertain,
    instants.is_clamped,
    case
      when is_first and starts.first_from_stage_id is null and starts.first_gap_us > 0
        and starts.first_gap_us <= starts.entry_tolerance_seconds * cast(1000000 as bigint)
        then 'created_at_tolerance'
      when instants.is_clamped then 'clamped'
    end as inference_rule,
    coalesce(
      is_first and not starts.starts_on_creation_day and case
        when starts.first_from_stage_id is not null then starts.created_at is null
        else starts.first_gap_us > starts.entry_tolerance_seconds * cast(1000000 as bigint)
      end,
      false
    ) as is_left_truncated,
    instants.pipeline_id,
    instants.stage_id,
    instants.from_pipeline_id,
    instants.from_stage_id,
    instants.amount_native,
    instants.currency,
    instants.close_date,
    instants.owner_id,
    instants.status,
    instants.forecast_category,
    instants.probability,
    instants.source_event_id,
    instants.changed_by,
    instants.change_source,
    instants.time_precision,
    instants.is_bulk_flagged,
    instants.known_on,
    instants.is_initial_load,
    cast(null as {{ dbt.type_string() }}) as removed_reason
  from (
    select
      instants.*,
      coalesce(
        instants.recorded_at = deals.first_recorded_at
        and instants.placed_at = deals.first_placed_at
        and instants.place_in_instant = deals.first_place_in_instant
        and instants.stage_id is not null,
        false
      ) as is_first
    from instants
    inner join deals on instants.deal_sk = deals.deal_sk
  ) as instants
  inner join starts on instants.deal_sk = starts.deal_sk
),

-- where the history does not say how the deal began
inferred_entries as (
  select
    deal_sk,
    case when created_at is not null then created_at else record_placed_at end as placed_at,
    case
      when starts_with_move then first_from_pipeline_id
      else pipeline_id
    end as pipeline_id,
    case
      when starts_with_move then first_from_stage_id
      when record_outcome = 'open' then stage_id
      else '(open)'
    end as stage_id,
    case
      when starts_with_move then 'created_at_from_old_value'
      when created_at is null then 'snapshot_first_seen'
      when record_outcome = 'open' then 'created_at_current_stage'
      else 'created_at_unrecorded_stage'
    end as inference_rule,
    case when created_at is null then 'day' else 'event' end as time_precision
  from starts
  where (starts_with_move and created_at is not null)
    or (
      coalesce(stage_rows, 0) = 0 and stage_id is not null
      and (record_outcome = 'open' or created_at < record_placed_at)
    )
),

current_records as (
  select
    deal_sk,
    record_placed_at as placed_at,
    case when coalesce(stage_rows, 0) = 0 or stage_id is not null then pipeline_id end as pipeline_id,
    case when coalesce(stage_rows, 0) = 0 and stage_id is null then '(open)' else stage_id end as stage_id,
    amount_native,
    currency,
    close_date,
    owner_id,
    record_outcome as status,
    forecast_category,
    probability,
    case
      when record_outcome <> 'open' and record_closed_at is not null then 'closed_at'
      when coalesce(stage_rows, 0) = 0 and created_at is null then 'snapshot_first_seen'
      else 'current_stage'
    end as inference_rule,
    case
      when record_closed_at = {{ utc_instant(business_date('record_closed_at', 'time_zone'), 'time_zone') }} then 'day'
      when record_closed_at is null and modified_at is null then 'day'
      else 'event'
    end as time_precision
  from starts
  where has_record and not is_record_stale
),

removals as (
  select
    deal_sk,
    greatest(removed_at, coalesce(first_placed_at, created_at, removed_at)) as placed_at,
    removed_reason
  from deals
  where removed_at is not null
),

time_line as (
  select * from told
  union all
  select
    inferred_entries.deal_sk,
    inferred_entries.placed_at,
    inferred_entries.placed_at as recorded_at,
    -1 as place_in_instant,
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
    null as known_on,
    true as is_initial_load,
    null as removed_reason
  from inferred_entries
  union all
  select
    deal_sk,
    placed_at,
    placed_at as recorded_at,
    1000000 as place_in_instant,
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
    null as known_on,
    true as is_initial_load,
    null as removed_reason
  from current_records
  union all
  select
    deal_sk,
    placed_at,
    placed_at as recorded_at,
    2000000 as place_in_instant,
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
    null as known_on,
    true as is_initial_load,
    removed_reason
  from removals
),

ranked as (
  select
    time_line.*,
    deals.source_relation,
    case when time_line.stage_id is not null then coalesce(ranks.stage_rank, -1) end as stage_rank,
    case
      when time_line.stage_id = '(open)' then 'open'
      when time_line.stage_id is not null then coalesce(ranks.outcome, 'unknown')
    end as stage_outcome
  from time_line
  inner join deals on time_line.deal_sk = deals.deal_sk
  left join {{ ref('int_stage_ranks') }} as ranks
    on deals.source_relation = ranks.source_relation
      and time_line.pipeline_id = ranks.pipeline_id
      and time_line.stage_id = ranks.stage_id
      and time_line.placed_at >= ranks.valid_from_at
      and (time_line.placed_at < ranks.valid_to_at or ranks.valid_to_at is null)
),

carried_forward as (
  select
    deal_sk,
    placed_at,
    recorded_at,
    place_in_instant,
    order_uncertain,
    is_clamped,
    inference_rule,
    is_left_truncated,
    from_pipeline_id as reported_from_pipeline_id,
    from_stage_id as reported_from_stage_id,
    source_event_id,
    changed_by,
    change_source,
    time_precision,
    is_bulk_flagged,
    known_on,
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
    {{ carried('removed_reason', 'deal_so_far') }} as removed_reason
  from ranked
  window deal_so_far as (
    partition by deal_sk
    order by placed_at, recorded_at, place_in_instant
    rows between unbounded preceding and current row
  )
),

-- a field without a history is known from the record only: for a closed deal from its closing on,
-- for an open one from the day the record was read; never before (the outcome would leak into past days)
completed as (
  select
    line.deal_sk,
    line.placed_at,
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
    coalesce(line.known_on, {{ business_date('line.placed_at', 'starts.time_zone') }}) as known_on,
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
    case
      when starts.has_amount then line.amount_native
      when line.placed_at >= starts.record_value_at then starts.amount_native
    end as amount_native,
    coalesce(case when starts.has_currency then line.currency end, starts.currency, starts.reporting_currency) as currency,
    case
      when starts.has_close_date then line.close_date
      when line.placed_at >= starts.record_value_at then starts.close_date
    end as close_date,
    coalesce(case when starts.has_owner then line.owner_id end, case when not starts.has_owner then starts.owner_id end) as owner_id,
    case
      when starts.has_forecast_category then line.forecast_category
      when line.placed_at >= starts.record_value_at then starts.forecast_category
    end as forecast_category,
    case
      when starts.has_probability then line.probability
      when line.placed_at >= starts.record_value_at then starts.probability
    end as probability,
    line.removed_reason,
    starts.has_amount,
    starts.has_close_date,
    starts.time_zone
  from carried_forward as line
  inner join (
    select
      starts.*,
      context.currency as reporting_currency,
      case
        when starts.record_outcome <> 'open' and starts.last_stage_id = starts.stage_id and starts.last_pipeline_id = starts.pipeline_id
          then starts.last_stage_placed_at
        else starts.record_placed_at
      end as record_value_at
    from starts
    cross join context
  ) as starts
    on line.deal_sk = starts.deal_sk
  where line.stage_id is not null
),

compared as (
  select
    *,
    lag(pipeline_id) over deal_line as previous_pipeline_id,
    lag(stage_id) over deal_line as previous_stage_id,
    lag(status) over deal_line as previous_status,
    lag(close_date) over deal_line as previous_close_date,
    lag({{ packed([
      'pipeline_id', 'stage_id', 'status', 'amount_native', 'currency', 'close_date', 'owner_id',
      'forecast_category', 'probability', 'removed_reason'
    ]) }}) over deal_line as previous_values
  from completed
  window deal_line as (partition by deal_sk order by placed_at, recorded_at, place_in_instant)
),

flagged as (
  select
    *,
    previous_stage_id is null
    or previous_stage_id <> stage_id
    or previous_pipeline_id <> pipeline_id
    or previous_status <> status as is_new_state,
    previous_stage_id is null or previous_values is distinct from {{ packed([
      'pipeline_id', 'stage_id', 'status', 'amount_native', 'currency', 'close_date', 'owner_id',
      'forecast_category', 'probability', 'removed_reason'
    ]) }} as is_new_version,
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
    case when has_amount then 'history' when amount_native is not null then 'current_values' else 'none' end as amount_asof_quality,
    case when has_close_date then 'history' when close_date is not null then 'current_values' else 'none' end as close_date_asof_quality,
    cast(sum(is_push) over deal_line as int) as push_count_so_far,
    is_new_state,
    is_new_version
  from flagged
  where is_new_version
  window deal_line as (partition by deal_sk order by placed_at, recorded_at, place_in_instant)
)

select * from final
