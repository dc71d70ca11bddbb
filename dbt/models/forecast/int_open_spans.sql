-- The state of open deals at the end of each day, from the ledger alone: what ended within its day is never seen, so a
-- mis-drag within a day leaves no trace, and a span that is cut at any day is the span as it was known then.
with context as (
  select as_of from {{ ref('stg_run_context') }}
),

-- the windows below carry every version of every deal: numbers in place of texts take a third of their time away
stage_numbers as (
  select
    stage_key,
    cast(row_number() over (order by stage_key) as int) as stage_number
  from {{ ref('dim_stage') }}
),

unknown_entries as (
  select distinct
    {{ number_of_key('visits.deal_key') }} as deal_number,
    stage_numbers.stage_number,
    visits.entered_on
  from {{ ref('int_stage_visits') }} as visits
  inner join stage_numbers on visits.stage_key = stage_numbers.stage_key
  where visits.is_entry_unknown
),

-- sources whose amounts are filled in when deals close
unknown_amounts as (
  select source_relation
  from {{ ref('int_refused_fields') }}
  where field_name = 'amount'
    and is_refused
),

-- state: 1 open, 2 won, 0 anything else
visible as (
  select
    {{ number_of_key('versions.deal_key') }} as deal_number,
    versions.version_number,
    stage_numbers.stage_number,
    versions.valid_from_date,
    versions.valid_to_date,
    case
      when versions.is_deleted or versions.merged_into_deal_id is not null or versions.excluded_by is not null then 0
      when versions.status = 'open' then 1
      when versions.status = 'won' then 2
      else 0
    end as state,
    versions.amount_asof_quality = 'history' and unknown_amounts.source_relation is null as is_amount_known,
    case when versions.amount_base > 0 then versions.amount_base end as amount
  from {{ ref('fct_deal_versions') }} as versions
  inner join stage_numbers on versions.stage_key = stage_numbers.stage_key
  left join unknown_amounts on versions.source_relation = unknown_amounts.source_relation
  cross join context
  where (versions.valid_to_date is null or versions.valid_to_date > versions.valid_from_date)
    -- not as a comparison of the two: DuckDB would take that for a join which leaves one row of a hundred, and hash the
    -- versions, not the few unknown entries, in the next step
    and {{ days_between('versions.valid_from_date', 'context.as_of') }} >= 0
),

-- a day of entry as a number that tells, too, whether it is the real one: joined to the spans, after the windows, the
-- unknown entries took as long as a window
entered as (
  select
    visible.*,
    {{ days_between("date '1970-01-01'", 'visible.valid_from_date') }} * 2
    + case when unknown_entries.deal_number is null then 0 else 1 end as entry
  from visible
  left join unknown_entries
    on visible.deal_number = unknown_entries.deal_number
      and visible.stage_number = unknown_entries.stage_number
      and visible.valid_from_date = unknown_entries.entered_on
),

compared as (
  select
    *,
    lag(state) over deal_line as state_before,
    lag(stage_number) over deal_line as stage_before
  from entered
  window deal_line as (partition by deal_number order by version_number)
),

-- a deal arrives when it opens, again when it is reopened, and when it is won without having been seen open
marked as (
  select
    *,
    case
      when state = 1 and coalesce(state_before, 0) <> 1 then 1
      when state = 2 and coalesce(state_before, 0) not in (1, 2) then 1
      else 0
    end as is_arrival,
    case
      when state = 1 and (coalesce(state_before, 0) <> 1 or stage_before <> stage_number) then entry
    end as stage_entry
  from compared
),

placed as (
  select
    *,
    sum(is_arrival) over deal_line as arrival_number,
    max(case when is_arrival = 1 then valid_from_date end) over deal_line as arrived_on,
    max(stage_entry) over deal_line as last_entry
  from marked
  window deal_line as (partition by deal_number order by version_number rows between unbounded preceding and current row)
),

endings as (
  select
    deal_number,
    arrival_number,
    valid_from_date as closed_on,
    case when state = 2 then 'won' else 'lost' end as outcome,
    case when state = 2 then amount end as won_amount
  from placed
  where state <> 1
    and (state_before = 1 or is_arrival = 1)
),

spans as (
  select
    placed.deal_number,
    placed.version_number,
    placed.stage_number,
    placed.valid_from_date,
    placed.valid_to_date,
    placed.last_entry as entry,
    placed.arrival_number,
    placed.arrived_on,
    case when placed.is_amount_known then placed.amount end as known_amount
  from placed
  where placed.state = 1
  union all
  select
    deal_number,
    version_number,
    stage_number,
    valid_from_date,
    valid_from_date as valid_to_date,
    entry,
    arrival_number,
    arrived_on,
    case when is_amount_known then amount end as known_amount
  from placed
  where state = 2
    and is_arrival = 1
),

final as (
  select
    spans.deal_number,
    spans.version_number,
    cast(spans.arrival_number as int) as arrival_number,
    stage_numbers.stage_key,
    spans.valid_from_date,
    case when spans.valid_to_date <= context.as_of then spans.valid_to_date end as valid_to_date,
    {{ add_days("date '1970-01-01'", 'floor(spans.entry / 2e0)') }} as entered_on,
    spans.entry % 2 <> 0 as is_entry_unknown,
    spans.arrived_on,
    endings.closed_on,
    coalesce(endings.outcome, 'open') as outcome,
    cast(spans.known_amount as decimal(20, 3)) as open_amount,
    cast(endings.won_amount as decimal(20, 3)) as won_amount
  from spans
  inner join stage_numbers on spans.stage_number = stage_numbers.stage_number
  cross join context
  left join endings
    on spans.deal_number = endings.deal_number
      and spans.arrival_number = endings.arrival_number
)

select * from final
