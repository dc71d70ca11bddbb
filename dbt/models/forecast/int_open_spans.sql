-- The state of open deals at the end of each day, from the ledger alone: what ended within its day is never seen, so a
-- mis-drag within a day leaves no trace, and a span that is cut at any day is the span as it was known then.
with context as (
  select as_of from {{ ref('stg_run_context') }}
),

visible as (
  select
    {{ number_of_key('versions.deal_key') }} as deal_number,
    versions.version_number,
    versions.stage_key,
    versions.valid_from_date,
    versions.valid_to_date,
    case
      when versions.is_deleted or versions.merged_into_deal_id is not null or versions.excluded_by is not null then 'lost'
      when versions.status in ('open', 'won') then versions.status
      else 'lost'
    end as state,
    case when versions.amount_asof_quality = 'history' and versions.amount_base > 0 then versions.amount_base end as known_amount,
    case when versions.amount_base > 0 then versions.amount_base end as final_amount
  from {{ ref('fct_deal_versions') }} as versions
  cross join context
  where (versions.valid_to_date is null or versions.valid_to_date > versions.valid_from_date)
    and versions.valid_from_date <= context.as_of
),

compared as (
  select
    *,
    lag(state) over deal_line as state_before,
    lag(stage_key) over deal_line as stage_before
  from visible
  window deal_line as (partition by deal_number order by version_number)
),

-- a deal arrives when it opens, again when it is reopened, and when it is won without having been seen open
marked as (
  select
    *,
    case
      when state = 'open' and coalesce(state_before, 'none') <> 'open' then 1
      when state = 'won' and coalesce(state_before, 'none') not in ('open', 'won') then 1
      else 0
    end as is_arrival,
    case
      when state = 'open' and (coalesce(state_before, 'none') <> 'open' or stage_before <> stage_key) then valid_from_date
    end as stage_entered_on
  from compared
),

placed as (
  select
    *,
    sum(is_arrival) over deal_line as arrival_number,
    max(case when is_arrival = 1 then valid_from_date end) over deal_line as arrived_on,
    max(stage_entered_on) over deal_line as entered_on
  from marked
  window deal_line as (partition by deal_number order by version_number rows between unbounded preceding and current row)
),

endings as (
  select
    deal_number,
    arrival_number,
    valid_from_date as closed_on,
    state as outcome,
    case when state = 'won' then final_amount end as won_amount
  from placed
  where state <> 'open'
    and (state_before = 'open' or is_arrival = 1)
),

unknown_entries as (
  select distinct
    {{ number_of_key('deal_key') }} as deal_number,
    stage_key,
    entered_on
  from {{ ref('int_stage_visits') }}
  where is_entry_unknown
),

spans as (
  select
    placed.deal_number,
    placed.version_number,
    placed.stage_key,
    placed.valid_from_date,
    placed.valid_to_date,
    placed.entered_on,
    placed.arrival_number,
    placed.arrived_on,
    placed.known_amount
  from placed
  where placed.state = 'open'
  union all
  select
    deal_number,
    version_number,
    stage_key,
    valid_from_date,
    valid_from_date as valid_to_date,
    valid_from_date as entered_on,
    arrival_number,
    arrived_on,
    known_amount
  from placed
  where state = 'won'
    and is_arrival = 1
),

final as (
  select
    spans.deal_number,
    spans.version_number,
    cast(spans.arrival_number as int) as arrival_number,
    spans.stage_key,
    spans.valid_from_date,
    case when spans.valid_to_date <= context.as_of then spans.valid_to_date end as valid_to_date,
    spans.entered_on,
    unknown_entries.deal_number is not null as is_entry_unknown,
    spans.arrived_on,
    endings.closed_on,
    coalesce(endings.outcome, 'open') as outcome,
    cast(spans.known_amount as decimal(20, 3)) as open_amount,
    cast(endings.won_amount as decimal(20, 3)) as won_amount
  from spans
  cross join context
  left join endings
    on spans.deal_number = endings.deal_number
      and spans.arrival_number = endings.arrival_number
  left join unknown_entries
    on spans.deal_number = unknown_entries.deal_number
      and spans.stage_key = unknown_entries.stage_key
      and spans.entered_on = unknown_entries.entered_on
)

select * from final
