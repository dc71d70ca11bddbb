-- What is asked of each deal, before it is known whether its source can answer: true is wrong, false is right, and null is
-- not asked (of closed deals only, a field that the source never fills, a value that was not told for that day).
{%- set unchanged_days = 60 %}
{%- set pushes = 3 %}
{%- set probability_gap = 0.25 %}
with context as (
  select
    *,
    {{ utc_instant(add_days('as_of', 1), 'time_zone') }} as cut_at
  from {{ ref('stg_run_context') }}
),

deals as (
  select
    *,
    coalesce(won_on, lost_on, closed_on) as ended_on
  from {{ ref('fct_deals') }}
  where not is_deleted and excluded_by is null
),

-- which fields a source fills at all, in whatever deal
filled as (
  select
    deals.source_relation,
    {%- for name, condition in [
      ('amount', "deals.amount_native is not null and deals.status = 'open'"),
      ('won_amount', "deals.amount_native is not null and deals.status = 'won'"),
      ('close_date', "deals.close_date is not null and deals.status = 'open'"),
      ('next_step', "trim(deals.next_step) <> ''"),
      ('activity', 'deals.last_activity_at is not null'),
      ('lost_reason', "trim(deals.lost_reason) <> ''"),
      ('account', 'deals.account_key <> ' ~ none_key()),
      ('created', 'deals.created_on is not null'),
      ('owner', 'deals.owner_key <> ' ~ none_key()),
    ] %}
      max(case when {{ condition }} then 1 else 0 end) = 1 as has_{{ name }},
    {%- endfor %}
    count(*) as deals
  from deals
  group by deals.source_relation
),

-- a source without any move from stage to stage tells no way, and so no wrong one
moves as (
  select
    transitions.deal_key,
    max(case when transitions.transition_type = 'skip' then 1 else 0 end) = 1 as has_skip,
    max(case when transitions.transition_type = 'backward' then 1 else 0 end) = 1 as has_backward
  from {{ ref('fct_stage_transitions') }} as transitions
  cross join context
  where transitions.business_date <= context.as_of
    and not transitions.is_transient
    and not transitions.is_bulk_change
  group by transitions.deal_key
),

moving_sources as (
  select transitions.source_relation
  from {{ ref('fct_stage_transitions') }} as transitions
  cross join context
  where transitions.business_date <= context.as_of
    and transitions.from_status = 'open'
    and transitions.to_status = 'open'
  group by transitions.source_relation
),

dated_versions as (
  select
    versions.deal_key,
    versions.valid_from_date,
    {{ is_different('versions.close_date', 'lag(versions.close_date) over (partition by versions.deal_key order by versions.version_number)') }} as is_new_date
  from {{ ref('fct_deal_versions') }} as versions
  cross join context
  where versions.valid_from_date <= context.as_of
),

close_dates as (
  select
    deal_key,
    max(case when is_new_date then valid_from_date end) as close_date_set_on
  from dated_versions
  group by deal_key
),

visits as (
  select
    visits.*,
    row_number() over (partition by visits.deal_key order by visits.visit_seq desc) as newest_first
  from {{ ref('int_open_visits') }} as visits
  where not visits.is_left
),

stages as (
  select
    stages.stage_key,
    2 * stages.stage_order > max(case when stages.is_open then stages.stage_order end) over (partition by stages.pipeline_key) as is_late_stage
  from {{ ref('dim_stage') }} as stages
),

stage_chances as (
  select
    history.stage_key,
    max(history.probability) as probability
  from {{ ref('dim_stage_history') }} as history
  cross join context
  where history.valid_from_at < context.cut_at
    and (history.valid_to_at is null or history.valid_to_at >= context.cut_at)
  group by history.stage_key
),

facts as (
  select
    deals.*,
    filled.has_amount,
    filled.has_won_amount,
    filled.has_close_date,
    filled.has_next_step,
    filled.has_activity,
    filled.has_lost_reason,
    filled.has_account,
    filled.has_created,
    filled.has_owner,
    moving_sources.source_relation is not null as has_moves,
    moves.has_skip,
    moves.has_backward,
    stages.is_late_stage,
    stage_chances.probability as stage_probability,
    owners.is_only_in_deals as is_owner_unknown,
    -- who left later was there on that day
    case when owners.ended_on is not null then owners.ended_on <= context.as_of else not owners.is_active end as is_owner_gone,
    case when deals.close_date_asof_quality = 'history' then {{ days_between('close_dates.close_date_set_on', 'context.as_of') }} end as close_date_unchanged_days,
    -- next step and activity have no history: a record written later tells nothing of that day
    records.seen_on <= context.as_of
    or {{ business_date('records.record_at', 'context.time_zone') }} <= context.as_of as is_record_of_then,
    {{ business_date('deals.last_activity_at', 'context.time_zone') }} as last_activity_on,
    visits.days_seen,
    visits.is_entry_unknown or visits.is_bulk_entry as is_days_in_stage_at_least,
    case when not visits.is_entry_unknown and not visits.is_bulk_entry then visits.entered_on end as moved_on,
    pace.pace_basis,
    pace.reference_visits,
    pace.median_days,
    pace.slow_after_days,
    pace.stalled_after_days,
    pace.dead_after_days,
    context.activity_days,
    context.definition_version
  from deals
  cross join context
  inner join filled on deals.source_relation = filled.source_relation
  inner join {{ ref('int_deals') }} as records on deals.deal_key = records.deal_key
  inner join {{ ref('dim_owner') }} as owners on deals.owner_key = owners.owner_key
  left join moving_sources on deals.source_relation = moving_sources.source_relation
  left join moves on deals.deal_key = moves.deal_key
  left join close_dates on deals.deal_key = close_dates.deal_key
  left join stages on deals.stage_key = stages.stage_key
  left join stage_chances on deals.stage_key = stage_chances.stage_key
  left join visits
    on deals.deal_key = visits.deal_key
      and deals.status = 'open'
      and visits.newest_first = 1
  left join {{ ref('int_stage_pace') }} as pace on visits.stage_key = pace.stage_key
  left join {{ ref('dim_date') }} as ends on deals.ended_on = ends.date_day
  where deals.status = 'open'
    or ends.quarter_offset >= -1
    or deals.ended_on > context.as_of
),

-- where most records were written later, those that were not are the deals nobody touched: no sample of the others
known as (
  select
    *,
    avg(case when is_record_of_then then 1e0 else 0e0 end) over (partition by source_relation, status) >= 0.8 as is_record_told
  from facts
),

timed as (
  select
    *,
    -- at least so long is enough for slow and worse, and says nothing of on pace
    case
      when days_seen is null or slow_after_days is null then null
      when days_seen > dead_after_days then 'dead'
      when days_seen > stalled_after_days then 'stalled'
      when days_seen > slow_after_days then 'slow'
      when not is_days_in_stage_at_least then 'on_pace'
    end as pace,
    case
      when status <> 'open' then null
      when slow_after_days is null then 'too_few_finished_visits'
      when is_days_in_stage_at_least and days_seen <= slow_after_days then 'entry_unknown'
    end as pace_null_reason,
    -- a move is work on the deal, whether it was logged as an activity or not
    case
      when status <> 'open' or not has_activity or not is_record_told then null
      when last_activity_on > as_of and not is_record_of_then then null
      else greatest(0, {{ days_between('greatest(coalesce(last_activity_on, created_on, moved_on), coalesce(moved_on, last_activity_on, created_on))', 'as_of') }})
    end as days_without_activity
  from known
),

final as (
  select
    deal_key,
    source_relation,
    status,
    days_seen,
    is_days_in_stage_at_least,
    pace_basis,
    reference_visits,
    median_days,
    slow_after_days,
    stalled_after_days,
    dead_after_days,
    pace,
    pace_null_reason,
    cast(days_without_activity as int) as days_without_activity,
    case when status = 'open' then {{ days_between('close_date', 'as_of') }} end as days_past_due,
    case when status = 'open' and close_date is not null then close_date < as_of end as is_past_due,
    case when status = 'open' and has_amount then amount_native is null end as has_no_amount,
    case when status = 'open' and amount_native is not null then amount_native <= 0 and coalesce(is_late_stage, false) end as has_zero_amount_late,
    case when status = 'open' and close_date is not null then close_date_unchanged_days > {{ unchanged_days }} end as has_unchanged_close_date,
    case when status = 'open' and has_next_step and is_record_of_then and is_record_told then trim(coalesce(next_step, '')) = '' end as has_no_next_step,
    days_without_activity > activity_days as has_no_activity,
    case when pace is not null and stalled_after_days is not null then pace in ('stalled', 'dead') end as is_too_long_in_stage,
    case when status = 'open' and close_date_asof_quality = 'history' then push_count >= {{ pushes }} end as is_pushed_often,
    case when status = 'open' and has_moves then coalesce(has_skip, false) end as has_skipped_stage,
    case when status = 'open' and has_moves then coalesce(has_backward, false) end as has_moved_backward,
    case when status = 'open' and owner_key <> {{ none_key() }} and not is_owner_unknown then is_owner_gone end as has_inactive_owner,
    case when status = 'lost' and has_lost_reason and is_record_of_then and is_record_told then trim(coalesce(lost_reason, '')) = '' end as is_lost_without_reason,
    case when status = 'won' and has_won_amount then coalesce(amount_native, 0) <= 0 end as is_won_without_amount,
    case when status = 'open' and has_close_date then close_date is null end as has_no_close_date,
    case when has_account then account_key = {{ none_key() }} end as has_no_account,
    case when has_created then created_on is null end as has_no_created_date,
    case when has_owner then owner_key = {{ none_key() }} end as has_no_owner,
    case when status = 'won' then coalesce(won_on > as_of, false) end as is_won_in_future,
    case when created_on is not null then coalesce(ended_on, close_date) < created_on end as is_closed_before_created,
    case
      when status <> 'open' or probability is null then null
      when stage_probability is null then probability <= 0 or probability >= 1
      else abs(probability - stage_probability) > {{ probability_gap }}
    end as has_odd_probability
  from timed
)

select * from final
