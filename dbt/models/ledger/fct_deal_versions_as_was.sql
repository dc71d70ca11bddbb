{{ config(materialized='by_touched_deal', touched_by='int_touched_facts', deal_column='deal_key') }}
-- What was known when, for deals with late changes only. A row of the time line is visible from the day it was known, and
-- not before its own day; each field shows the newest by its own time of the rows visible so far (running maxima).
{%- set fields = ['pipeline_id', 'stage_id', 'status', 'amount_native', 'currency', 'close_date', 'owner_id', 'forecast_category', 'probability', 'removed_reason'] %}
with late_deals as (
  select
    deals.deal_sk,
    deals.deal_key,
    deals.source_relation,
    deals.deal_id,
    deals.merged_into_deal_id,
    deals.deal_type
  from {{ touched_rows(ref('int_deals'), ref('int_touched_facts')) }} as deals
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

keyed as (
  select
    completed.*,
    late_deals.deal_key,
    late_deals.source_relation,
    late_deals.deal_id,
    late_deals.merged_into_deal_id,
    late_deals.deal_type,
    {{ hash_key(['late_deals.source_relation', 'completed.pipeline_id']) }} as pipeline_key,
    case
      when completed.known_owner_id is null then {{ none_key() }}
      else {{ hash_key(['late_deals.source_relation', 'completed.known_owner_id']) }}
    end as owner_key
  from completed
  inner join late_deals on completed.deal_sk = late_deals.deal_sk
),

-- a closed deal belongs to the owner it had when the closing was first known
credited as (
  select
    *,
    case
      when status = 'open' or removed_reason is not null then owner_key
      else first_value(owner_key) over (partition by deal_sk, status, state_since order by as_was_number)
    end as credit_owner_key
  from keyed
),

final as (
  select
    credited.deal_key,
    credited.source_relation,
    credited.deal_id,
    cast(credited.as_was_number as int) as as_was_number,
    credited.visible_on as as_was_from,
    credited.next_visible_on as as_was_to,
    credited.pipeline_id,
    credited.stage_id,
    credited.pipeline_key,
    {{ hash_key(['credited.source_relation', 'credited.pipeline_id', 'credited.stage_id']) }} as stage_key,
    credited.owner_key,
    credited.known_owner_id as owner_id,
    credited.status,
    case when credited.status <> 'open' then credited.state_since end as closed_on,
    credited.known_amount_native as amount_native,
    credited.known_currency as currency,
    credited.known_close_date as close_date,
    credited.forecast_category,
    credited.probability,
    credited.removed_reason is not null as is_deleted,
    credited.removed_reason as deleted_reason,
    case when credited.removed_reason = 'merged' then credited.merged_into_deal_id end as merged_into_deal_id,
    {{ excluded_by() }} as excluded_by
  from credited
  {{ exclusion_joins('credited.pipeline_key', 'credited.deal_type', 'credited.credit_owner_key') }}
)

select * from final
