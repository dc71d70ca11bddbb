-- The way of each lead through its stages, up to the deal it became. Small beside the deals, so it is built anew each time.
with context as (
  select
    time_zone,
    entry_tolerance_seconds
  from {{ ref('stg_run_context') }}
),

leads as (
  select * from {{ ref('int_leads') }}
),

-- what lies in the future counts from its extraction
events as (
  select
    {{ lead_key('source_relation', 'lead_id') }} as lead_key,
    least(event_at, first_extracted_at) as placed_at,
    event_at,
    stage,
    from_stage,
    outcome,
    sequence_number,
    first_extracted_at
  from {{ ref('stg_lead_events') }}
),

ordered as (
  select
    *,
    row_number() over (partition by lead_key order by placed_at, sequence_number nulls last, stage, from_stage nulls last) as number_of_lead,
    count(*) over (partition by lead_key) as events_of_lead
  from events
),

firsts as (
  select * from ordered
  where number_of_lead = 1
),

lasts as (
  select * from ordered
  where number_of_lead = events_of_lead
),

history as (
  select
    ordered.lead_key,
    case when ordered.number_of_lead = 1 and ordered.from_stage is null
      and {{ epoch_us('ordered.placed_at') }} - {{ epoch_us('leads.created_at') }} between 0 and context.entry_tolerance_seconds * 1000000
      then leads.created_at else ordered.placed_at end as placed_at,
    ordered.event_at as recorded_at,
    ordered.stage,
    ordered.outcome,
    case when ordered.number_of_lead = 1 and ordered.from_stage is null
      and {{ epoch_us('ordered.placed_at') }} - {{ epoch_us('leads.created_at') }} between 1 and context.entry_tolerance_seconds * 1000000
      then 'created_at_tolerance' end as inference_rule,
    ordered.number_of_lead as place
  from ordered
  inner join leads on ordered.lead_key = leads.lead_key
  cross join context
),

beginnings as (
  select
    leads.lead_key,
    leads.created_at as placed_at,
    leads.created_at as recorded_at,
    firsts.from_stage as stage,
    'open' as outcome,
    'created_at_from_old_value' as inference_rule,
    0 as place
  from leads
  inner join firsts on leads.lead_key = firsts.lead_key
  where firsts.from_stage is not null
    and leads.created_at < firsts.placed_at
  union all
  -- where only the record is known; a converted one tells how it ended, and not how it began
  select
    leads.lead_key,
    coalesce(leads.created_at, leads.record_at, leads.seen_at) as placed_at,
    coalesce(leads.created_at, leads.record_at, leads.seen_at) as recorded_at,
    case when leads.outcome <> 'converted' then coalesce(leads.stage, '(open)') else '(open)' end as stage,
    case when leads.outcome <> 'converted' then leads.outcome else 'open' end as outcome,
    case
      when leads.created_at is null then 'first_seen'
      when leads.outcome = 'converted' then 'created_at_unknown_stage'
      else 'created_at_current_stage'
    end as inference_rule,
    0 as place
  from leads
  left join firsts on leads.lead_key = firsts.lead_key
  where firsts.lead_key is null
    and (leads.created_at is not null or leads.outcome <> 'converted')
),

-- the conversion, unless the history has a change at that very instant
conversions as (
  select
    leads.lead_key,
    leads.converted_at as placed_at,
    leads.converted_at as recorded_at,
    case
      when leads.stage <> coalesce(lasts.stage, '(open)') then leads.stage
      else '(converted)'
    end as stage,
    'converted' as outcome,
    'conversion' as inference_rule,
    1000000 as place
  from leads
  left join lasts on leads.lead_key = lasts.lead_key
  left join (select lead_key, placed_at from events group by lead_key, placed_at) as told
    on leads.lead_key = told.lead_key
      and leads.converted_at = told.placed_at
  where leads.converted_at is not null
    and told.lead_key is null
),

-- the record stands elsewhere than its history ends: a move that the history does not know (yet)
corrections as (
  select
    leads.lead_key,
    leads.record_at as placed_at,
    leads.record_at as recorded_at,
    leads.stage,
    leads.outcome,
    'current_stage' as inference_rule,
    1000000 as place
  from leads
  inner join lasts on leads.lead_key = lasts.lead_key
  where leads.converted_at is null
    and leads.stage <> lasts.stage
    and leads.record_at > lasts.placed_at
    and leads.extracted_at >= lasts.first_extracted_at
),

lines as (
  select * from history
  union all
  select * from beginnings
  union all
  select * from conversions
  union all
  select * from corrections
),

judged as (
  select
    lines.lead_key,
    lines.placed_at,
    lines.recorded_at,
    lines.stage,
    lines.inference_rule,
    lines.place,
    case
      when lines.placed_at >= leads.converted_at and lines.place > 0 then 'converted'
      when lines.outcome = 'converted' then 'open'
      when leads.outcome = 'disqualified'
        and row_number() over (partition by lines.lead_key order by lines.placed_at desc, lines.place desc) = 1 then 'disqualified'
      else lines.outcome
    end as status
  from lines
  inner join leads on lines.lead_key = leads.lead_key
),

compared as (
  select
    *,
    lag(stage) over lead_line as stage_before,
    lag(status) over lead_line as status_before
  from judged
  window lead_line as (partition by lead_key order by placed_at, place)
),

moves as (
  select
    *,
    row_number() over lead_line as transition_number,
    lead(placed_at) over lead_line as exited_at,
    row_number() over (partition by lead_key, recorded_at, stage order by placed_at, place) as number_alike
  from compared
  where stage_before is null
    or stage <> stage_before
    or status <> status_before
  window lead_line as (partition by lead_key order by placed_at, place)
),

final as (
  select
    {{ hash_key(["'(lead)'", 'leads.source_relation', 'leads.lead_id', epoch_us('moves.recorded_at'), 'moves.stage', 'moves.number_alike']) }} as transition_id,
    moves.lead_key,
    leads.source_relation,
    leads.lead_id,
    cast(moves.transition_number as int) as transition_number,
    moves.placed_at as transitioned_at,
    moves.recorded_at as recorded_at_utc,
    moves.exited_at,
    {{ business_date('moves.placed_at', 'context.time_zone') }} as business_date,
    {{ business_date('moves.exited_at', 'context.time_zone') }} as exited_date,
    moves.stage_before as from_stage,
    moves.stage as to_stage,
    moves.status_before as from_status,
    moves.status as to_status,
    cast(({{ epoch_us('moves.exited_at') }} - {{ epoch_us('moves.placed_at') }}) / 86400000000.0 as double) as "days",
    moves.exited_at is null as is_current,
    moves.exited_at is null and moves.status = 'open' as is_censored,
    moves.inference_rule is not null as is_inferred,
    moves.inference_rule
  from moves
  cross join context
  inner join leads on moves.lead_key = leads.lead_key
)

select * from final
