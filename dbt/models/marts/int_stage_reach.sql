-- How far each deal came, stage by stage. Ranks are compared as they were on the day of the later entry, so a re-ordering
-- of stages is no progress. Neither a win nor a loss marks the stages before it as reached.
with context as (
  select as_of from {{ ref('stg_run_context') }}
),

visits as (
  select * from {{ ref('int_open_visits') }}
),

wins as (
  select
    visits.deal_key,
    visits.pipeline_key,
    visits.visit_seq,
    visits.entered_at,
    visits.entered_on
  from {{ ref('int_stage_visits') }} as visits
  cross join context
  where visits.stage_status = 'won'
    and visits.excluded_by is null
    and visits.entered_on <= context.as_of
    and not visits.is_bulk_entry
),

stages as (
  select
    stage_key,
    {{ hash_key(['source_relation', 'pipeline_id']) }} as pipeline_key,
    stage_order,
    valid_from_at,
    valid_to_at
  from {{ ref('dim_stage_history') }}
  where outcome = 'open'
),

-- every open stage at or below each visit; a win is above them all
steps as (
  select
    visits.deal_key,
    visits.source_relation,
    visits.pipeline_key,
    visits.visit_seq,
    visits.entered_on,
    visits.owner_key,
    visits.is_entry_unknown or visits.is_bulk_entry as is_left_out,
    visits.is_bulk_entry,
    stages.stage_key,
    stages.stage_order,
    stages.stage_key = visits.stage_key as is_touch,
    visits.stage_rank > stages.stage_order as is_above,
    false as is_win
  from visits
  inner join stages
    on visits.pipeline_key = stages.pipeline_key
      and visits.stage_rank >= stages.stage_order
      and visits.entered_at >= stages.valid_from_at
      and (visits.entered_at < stages.valid_to_at or stages.valid_to_at is null)
  union all
  select
    touched.deal_key,
    touched.source_relation,
    wins.pipeline_key,
    wins.visit_seq,
    wins.entered_on,
    cast(null as {{ dbt.type_string() }}) as owner_key,
    false as is_left_out,
    false as is_bulk_entry,
    stages.stage_key,
    stages.stage_order,
    false as is_touch,
    true as is_above,
    true as is_win
  from wins
  inner join (select deal_key, source_relation from visits group by deal_key, source_relation) as touched
    on wins.deal_key = touched.deal_key
  inner join stages
    on wins.pipeline_key = stages.pipeline_key
      and wins.entered_at >= stages.valid_from_at
      and (wins.entered_at < stages.valid_to_at or stages.valid_to_at is null)
),

numbered as (
  select
    *,
    min(case when is_touch then visit_seq end) over deal_stage as first_touch_seq,
    min(case when not is_win then visit_seq end) over deal_stage as first_reach_seq
  from steps
  window deal_stage as (partition by deal_key, stage_key)
),

reached as (
  select
    deal_key,
    source_relation,
    pipeline_key,
    stage_key,
    min(first_reach_seq) as first_reach_seq,
    min(first_touch_seq) as first_touch_seq,
    min(case when visit_seq = first_reach_seq then entered_on end) as reached_on,
    max(case when visit_seq = first_reach_seq and is_left_out then 1 else 0 end) = 1 as is_reach_left_out,
    min(case when visit_seq >= first_reach_seq and is_above and not is_bulk_entry then entered_on end) as above_since_reached_on,
    min(case when visit_seq = first_touch_seq then entered_on end) as touched_on,
    min(case when visit_seq = first_touch_seq then owner_key end) as touch_owner_key,
    min(case when visit_seq = first_touch_seq then stage_order end) as touch_order,
    max(case when visit_seq = first_touch_seq and is_left_out then 1 else 0 end) = 1 as is_touch_left_out,
    min(case when visit_seq > first_touch_seq and is_above and not is_bulk_entry then entered_on end) as above_since_touched_on
  from numbered
  where first_reach_seq is not null
  group by deal_key, source_relation, pipeline_key, stage_key
),

-- how many of the stages below it the deal had touched before
earlier_touches as (
  select
    later_stage.deal_key,
    later_stage.stage_key,
    count(*) as stages_touched_before
  from reached as later_stage
  inner join reached as earlier_stage
    on later_stage.deal_key = earlier_stage.deal_key
      and later_stage.pipeline_key = earlier_stage.pipeline_key
      and earlier_stage.first_touch_seq < later_stage.first_touch_seq
      and earlier_stage.touch_order < later_stage.touch_order
  group by later_stage.deal_key, later_stage.stage_key
),

final as (
  select
    reached.deal_key,
    reached.source_relation,
    reached.pipeline_key,
    reached.stage_key,
    reached.reached_on,
    reached.is_reach_left_out,
    reached.above_since_reached_on,
    reached.touched_on,
    reached.touch_owner_key,
    reached.is_touch_left_out,
    reached.above_since_touched_on,
    reached.first_touch_seq is not null
    and coalesce(earlier_touches.stages_touched_before, 0) >= reached.touch_order - 1 as has_touched_all_before
  from reached
  left join earlier_touches
    on reached.deal_key = earlier_touches.deal_key
      and reached.stage_key = earlier_touches.stage_key
)

select * from final
