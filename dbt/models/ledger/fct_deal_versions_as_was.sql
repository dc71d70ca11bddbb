{{ config(materialized='by_touched_deal', deal_column='deal_key') }}
-- What was known when, for deals with late changes only. A row of the time line is visible from the day it was known, and
-- not before its own day; each field shows the newest by its own time of the rows visible so far (running maxima).
{%- set fields = ['pipeline_id', 'stage_id', 'status', 'amount_native', 'currency', 'close_date', 'owner_id', 'forecast_category', 'probability', 'removed_reason'] %}
with late_deals as (
  select
    deals.deal_sk,
    deals.deal_key,
    deals.source_relation,
    deals.deal_id,
    deals.merged_into_deal_id
  from {{ touched_rows(ref('int_deals'), ref('int_touched_deals')) }} as deals
  inner join (
    select deal_key
    from {{ ref('fct_deal_versions') }}
    where has_late_changes
    group by deal_key
  ) as late on deals.deal_key = late.deal_key
),

starts as (
  select * from {{ ref('int_deal_starts') }}
),

placed as (
  select
    line.*,
    {{ business_date('line.placed_at', 'starts.time_zone') }} as business_date,
    row_number() over (
      partition by line.deal_sk
      order by line.placed_at, line.line_part, line.recorded_at, line.place_in_instant
    ) as place
  from {{ ref('int_deal_time_line') }} as line
  inner join late_deals on line.deal_sk = late_deals.deal_sk
  inner join starts on line.deal_sk = starts.deal_sk
),

visible as (
  select
    *,
    greatest(business_date, coalesce(known_on, business_date)) as visible_on
  from placed
),

newest as (
  select
    *
    {%- for field in fields %},
    max(case when {{ field }} is not null then place end) over visible_so_far as {{ field }}_place
    {%- endfor %},
    max(case when stage_id is not null or status is not null then place end) over visible_so_far as state_place
  from visible
  window visible_so_far as (
    partition by deal_sk
    order by visible_on, place
    rows between unbounded preceding and current row
  )
),

shown as (
  select
    deal_sk,
    visible_on,
    place,
    {{ carried('case when place = stage_id_place then stage_outcome end', 'visible_so_far') }} as stage_outcome,
    {{ carried('case when place = state_place then business_date end', 'visible_so_far') }} as state_since
    {%- for field in fields %},
    {{ carried('case when place = ' ~ field ~ '_place then ' ~ field ~ ' end', 'visible_so_far') }} as {{ field }}
    {%- endfor %}
  from newest
  window visible_so_far as (
    partition by deal_sk
    order by visible_on, place
    rows between unbounded preceding and current row
  )
),

-- the last row of a day is what its evening knew
evenings as (
  select
    *,
    lead(visible_on) over (partition by deal_sk order by visible_on, place) as next_visible_on
  from shown
),

stated as (
  select
    evenings.deal_sk,
    evenings.visible_on,
    evenings.pipeline_id,
    evenings.state_since,
    case
      when evenings.stage_outcome in ('won', 'lost', 'closed_other') then evenings.stage_id
      when evenings.status in ('won', 'lost', 'closed_other') then concat('(', evenings.status, ')')
      else evenings.stage_id
    end as stage_id,
    case
      when evenings.stage_outcome in ('won', 'lost', 'closed_other') then evenings.stage_outcome
      when evenings.status in ('won', 'lost', 'closed_other') then evenings.status
      else 'open'
    end as status,
    evenings.amount_native,
    evenings.currency,
    evenings.close_date,
    evenings.owner_id,
    evenings.forecast_category,
    evenings.probability,
    evenings.removed_reason
  from evenings
  where evenings.stage_id is not null
    and (evenings.next_visible_on is null or evenings.next_visible_on > evenings.visible_on)
),

-- a field without a history is known from the record only: from its reading on, or from the closing
completed as (
  select
    stated.*,
    case when starts.has_amount or stated.status = 'open' then stated.amount_native else coalesce(stated.amount_native, starts.amount_native) end as known_amount_native,
    coalesce(case when starts.has_currency then stated.currency end, starts.currency, starts.reporting_currency) as known_currency,
    case when starts.has_close_date or stated.status = 'open' then stated.close_date else coalesce(stated.close_date, starts.close_date) end as known_close_date,
    case when starts.has_owner then stated.owner_id else starts.owner_id end as known_owner_id,
    row_number() over (partition by stated.deal_sk order by stated.visible_on) as as_was_number,
    lead(stated.visible_on) over (partition by stated.deal_sk order by stated.visible_on) as next_visible_on
  from stated
  inner join starts on stated.deal_sk = starts.deal_sk
),

final as (
  select
    late_deals.deal_key,
    late_deals.source_relation,
    late_deals.deal_id,
    cast(completed.as_was_number as int) as as_was_number,
    completed.visible_on as as_was_from,
    completed.next_visible_on as as_was_to,
    completed.pipeline_id,
    completed.stage_id,
    {{ hash_key(['late_deals.source_relation', 'completed.pipeline_id']) }} as pipeline_key,
    {{ hash_key(['late_deals.source_relation', 'completed.pipeline_id', 'completed.stage_id']) }} as stage_key,
    case
      when completed.known_owner_id is null then {{ none_key() }}
      else {{ hash_key(['late_deals.source_relation', 'completed.known_owner_id']) }}
    end as owner_key,
    completed.known_owner_id as owner_id,
    completed.status,
    case when completed.status <> 'open' then completed.state_since end as closed_on,
    completed.known_amount_native as amount_native,
    completed.known_currency as currency,
    completed.known_close_date as close_date,
    completed.forecast_category,
    completed.probability,
    completed.removed_reason is not null as is_deleted,
    completed.removed_reason as deleted_reason,
    case when completed.removed_reason = 'merged' then late_deals.merged_into_deal_id end as merged_into_deal_id
  from completed
  inner join late_deals on completed.deal_sk = late_deals.deal_sk
)

select * from final
