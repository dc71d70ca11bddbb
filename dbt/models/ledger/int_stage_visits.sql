{{ config(materialized='by_touched_deal', touched_by='int_touched_facts', deal_column='deal_key') }}
-- What metrics read: visits without mis-drags. Transients are dropped and the neighbours they parted are one visit again.
with kept as (
  select * from {{ touched_rows(ref('fct_stage_transitions'), ref('int_touched_facts'), 'deal_key') }} as touched_transitions
  where not is_transient
),

sequenced as (
  select
    *,
    row_number() over deal_line as visit_seq,
    lead(transitioned_at) over deal_line as left_at,
    lead(business_date) over deal_line as left_on,
    lead(transition_type) over deal_line as exit_type,
    lead(to_stage_key) over deal_line as next_stage_key,
    lead(to_rank) over deal_line as next_stage_rank,
    lead(to_status) over deal_line as next_status,
    lead(is_bulk_change) over deal_line as is_bulk_exit,
    row_number() over (partition by deal_key, to_stage_key order by transition_number) as kept_visit_number
  from kept
  window deal_line as (partition by deal_key order by transition_number)
),

final as (
  select
    deal_key,
    source_relation,
    cast(visit_seq as int) as visit_seq,
    to_pipeline_id as pipeline_id,
    pipeline_key,
    to_stage_id as stage_id,
    to_stage_key as stage_key,
    to_stage as stage,
    to_rank as stage_rank,
    to_status = 'open' as is_open_stage,
    to_status as stage_status,
    transitioned_at as entered_at,
    left_at as exited_at,
    business_date as entered_on,
    left_on as exited_on,
    transition_type as entry_type,
    exit_type,
    next_stage_key,
    next_stage_rank,
    next_status,
    owner_key,
    amount_base,
    cast(({{ epoch_us('left_at') }} - {{ epoch_us('transitioned_at') }}) / 86400000000.0 as double) as "days",
    is_clamped or is_left_truncated or coalesce(inference_rule, '') = 'snapshot_first_seen' as is_entry_unknown,
    is_left_truncated and not is_clamped and change_source = 'date_column' as is_entry_dated,
    is_bulk_change as is_bulk_entry,
    coalesce(is_bulk_exit, false) as is_bulk_exit,
    cast(kept_visit_number as int) as visit_number,
    is_inferred,
    inference_rule,
    time_precision,
    excluded_by
  from sequenced
)

select * from final
