-- Visits to open stages as they stood at the end of as_of, of deals that still count: not deleted, not merged away. What is
-- left out of the metrics is so by the pipeline of the visit, and by the owner who has or had the deal at its end.
with context as (
  select
    as_of,
    {{ utc_instant(add_days('as_of', 1), 'time_zone') }} as cut_at
  from {{ ref('stg_run_context') }}
),

deals as (
  select
    deal_key,
    deal_type,
    owner_key
  from {{ ref('fct_deals') }}
  where not is_deleted
),

numbered as (
  select
    *,
    lead(owner_key) over (partition by deal_key order by visit_seq) as next_owner_key
  from {{ ref('int_stage_visits') }}
),

visits as (
  select
    numbered.*,
    deals.deal_type,
    case when numbered.exited_on <= context.as_of then numbered.next_owner_key else deals.owner_key end as last_owner_key
  from numbered
  cross join context
  inner join deals on numbered.deal_key = deals.deal_key
),

final as (
  select
    visits.deal_key,
    visits.source_relation,
    visits.pipeline_key,
    visits.stage_key,
    visits.visit_seq,
    visits.stage_rank,
    visits.entered_at,
    visits.entered_on,
    -- an owner who is left out of the metrics hands the visit over to the one who had it in the end
    case when visits.excluded_by is null then visits.owner_key else visits.last_owner_key end as owner_key,
    visits.is_entry_unknown,
    visits.is_bulk_entry,
    coalesce(visits.exited_on <= context.as_of, false) as is_left,
    case when visits.exited_on <= context.as_of then visits.exited_on end as exited_on,
    case when visits.exited_on <= context.as_of then visits.exit_type end as exit_type,
    case when visits.exited_on <= context.as_of then visits.next_owner_key end as exit_owner_key,
    coalesce(visits.exited_on <= context.as_of and visits.is_bulk_exit, false) as is_bulk_exit,
    visits.time_precision = 'day' as is_entry_day_only,
    -- between days of the calendar there are whole days, also over a change of the clocks
    cast(case
      when visits.time_precision = 'day'
        then {{ days_between('visits.entered_on', "case when visits.exited_on <= context.as_of then visits.exited_on else " ~ add_days('context.as_of', 1) ~ " end") }}
      else (
        {{ epoch_us('case when visits.exited_on <= context.as_of then visits.exited_at else context.cut_at end') }}
        - {{ epoch_us('visits.entered_at') }}
      ) / 86400000000.0
    end as double) as days_seen,
    -- the entry has a date of its own, told or from the creation, and is not just where the deal was found
    not visits.is_entry_unknown
    and (
      coalesce(visits.inference_rule, 'told') in ('told', 'created_at_from_old_value', 'created_at_tolerance', 'created_at_unrecorded_stage')
      or history.first_logged_on is not null
    ) as is_entry_dated
  from visits
  cross join context
  inner join {{ ref('int_source_history') }} as history on visits.source_relation = history.source_relation
  {{ exclusion_joins('visits.pipeline_key', 'visits.deal_type', 'visits.last_owner_key') }}
  where visits.is_open_stage
    and visits.entered_on <= context.as_of
    and {{ excluded_by() }} is null
)

select * from final
