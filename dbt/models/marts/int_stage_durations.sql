-- How long deals stayed, counted per visit and per deal. A stay that goes on at as_of, or that a mass change ended, lasted
-- at least that long. Before a source's history is whole only stays that went on were seen: those join late, at the age
-- they had by then.
with context as (
  select time_zone from {{ ref('stg_run_context') }}
),

visits as (
  select
    visits.*,
    not visits.is_entry_unknown and not visits.is_bulk_entry as is_usable,
    visits.is_left and not visits.is_bulk_exit as is_completed,
    greatest(0, cast(case
      when visits.is_entry_day_only then {{ days_between('visits.entered_on', 'history.full_from_on') }}
      else (
        {{ epoch_us(utc_instant('history.full_from_on', 'context.time_zone')) }} - {{ epoch_us('visits.entered_at') }}
      ) / 86400000000.0
    end as double)) as seen_from_days
  from {{ ref('int_open_visits') }} as visits
  cross join context
  inner join {{ ref('int_source_history') }} as history on visits.source_relation = history.source_relation
),

numbered as (
  select
    *,
    row_number() over (partition by deal_key, stage_key order by visit_seq) as visit_number,
    row_number() over (partition by deal_key, stage_key order by visit_seq desc) as visit_number_from_last
  from visits
),

counted as (
  {%- for counted_per, condition in [
    ('visit', ''), ('deal_first', 'where visit_number = 1'), ('deal_latest', 'where visit_number_from_last = 1')
  ] %}
  select
    '{{ counted_per }}' as counted_per,
    deal_key,
    source_relation,
    stage_key,
    visit_seq,
    owner_key,
    entered_on,
    days_seen as stay_days,
    seen_from_days,
    is_completed,
    is_bulk_exit,
    is_usable
  from numbered
  {{ condition }}
  union all
  {%- endfor %}
  select
    'deal_cumulative' as counted_per,
    deal_key,
    source_relation,
    stage_key,
    min(visit_seq) as visit_seq,
    min(case when visit_number = 1 then owner_key end) as owner_key,
    min(entered_on) as entered_on,
    cast(sum(cast(days_seen as decimal(20, 9))) as double) as stay_days,
    max(case when visit_number = 1 then seen_from_days end) as seen_from_days,
    min(case when is_completed then 1 else 0 end) = 1 as is_completed,
    max(case when is_bulk_exit then 1 else 0 end) = 1 as is_bulk_exit,
    min(case when is_usable then 1 else 0 end) = 1 as is_usable
  from numbered
  group by deal_key, source_relation, stage_key
),

final as (
  select
    counted_per,
    deal_key,
    source_relation,
    stage_key,
    cast(visit_seq as int) as visit_seq,
    owner_key,
    entered_on,
    stay_days,
    seen_from_days,
    is_completed,
    is_bulk_exit,
    -- over before anybody could see it: what is known of such a stay depends on how it went on
    is_usable and stay_days >= seen_from_days as is_usable
  from counted
)

select * from final
