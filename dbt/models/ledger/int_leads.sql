-- What is known of each lead: its newest record, and when it became a deal.
with context as (
  select time_zone from {{ ref('stg_run_context') }}
),

events as (
  select
    source_relation,
    lead_id,
    min(case when outcome = 'converted' then event_at end) as converted_event_at,
    min(first_extracted_at) as first_extracted_at
  from {{ ref('stg_lead_events') }}
  group by source_relation, lead_id
),

records as (
  select
    source_relation,
    lead_id,
    max(case when is_newest then lead_name end) as lead_name,
    max(case when is_newest then stage end) as stage,
    max(case when is_newest then outcome end) as outcome,
    min(created_at) as created_at,
    min(converted_at) as converted_at,
    max(modified_at) as modified_at,
    max(extracted_at) as extracted_at,
    max(case when is_newest then owner_id end) as owner_id,
    max(case when is_newest then lead_source end) as lead_source,
    max(case when is_newest and is_deleted then 1 else 0 end) = 1 as is_deleted,
    max(case when deal_id is not null or converted_at is not null or outcome = 'converted' then 1 else 0 end) = 1 as is_converted
  from {{ ref('stg_leads') }}
  group by source_relation, lead_id
),

first_deals as (
  select
    source_relation,
    lead_id,
    deal_started_at,
    deal_start_basis
  from {{ ref('bridge_lead_deal') }}
  where deal_number = 1
),

-- a lead that only its history knows is a lead all the same
leads as (
  select
    coalesce(records.source_relation, events.source_relation) as source_relation,
    coalesce(records.lead_id, events.lead_id) as lead_id,
    records.lead_name,
    records.stage,
    coalesce(records.outcome, 'open') as outcome,
    records.created_at,
    records.converted_at as told_converted_at,
    least(coalesce(records.modified_at, records.extracted_at), records.extracted_at) as record_at,
    records.extracted_at,
    records.owner_id,
    records.lead_source,
    coalesce(records.is_deleted, false) as is_deleted,
    coalesce(records.is_converted, false) or events.converted_event_at is not null as is_converted,
    events.converted_event_at,
    coalesce(records.extracted_at, events.first_extracted_at) as seen_at
  from records
  full outer join events
    on records.source_relation = events.source_relation
      and records.lead_id = events.lead_id
),

-- a day alone says nothing about the hour: what the lead's history tells of that day came before
days_told as (
  select
    leads.source_relation,
    leads.lead_id,
    max(events.event_at) as last_event_at
  from leads
  cross join context
  inner join {{ ref('stg_lead_events') }} as events
    on leads.source_relation = events.source_relation
      and leads.lead_id = events.lead_id
      and leads.told_converted_at <= events.event_at
      and {{ business_date('leads.told_converted_at', 'context.time_zone') }} = {{ business_date('events.event_at', 'context.time_zone') }}
  where leads.told_converted_at = {{ utc_instant(business_date('leads.told_converted_at', 'context.time_zone'), 'context.time_zone') }}
  group by leads.source_relation, leads.lead_id
),

dated as (
  select
    leads.*,
    case
      when not leads.is_converted then null
      when leads.told_converted_at is not null then 'told'
      when leads.converted_event_at is not null then 'lead_history'
      else coalesce(first_deals.deal_start_basis, 'last_seen')
    end as conversion_basis,
    case
      when leads.is_converted
        then coalesce(
          days_told.last_event_at, leads.told_converted_at, leads.converted_event_at, first_deals.deal_started_at, leads.record_at,
          leads.seen_at
        )
    end as converted_at
  from leads
  left join first_deals
    on leads.source_relation = first_deals.source_relation
      and leads.lead_id = first_deals.lead_id
  left join days_told
    on leads.source_relation = days_told.source_relation
      and leads.lead_id = days_told.lead_id
),

final as (
  select
    {{ lead_key('dated.source_relation', 'dated.lead_id') }} as lead_key,
    dated.source_relation,
    dated.lead_id,
    dated.lead_name,
    dated.stage,
    case when dated.is_converted then 'converted' else dated.outcome end as outcome,
    dated.created_at,
    dated.conversion_basis,
    -- no lead became a deal before it was there
    case when dated.converted_at < dated.created_at then dated.created_at else dated.converted_at end as converted_at,
    dated.record_at,
    dated.extracted_at,
    dated.seen_at,
    coalesce(owners.member_id, dated.owner_id) as owner_id,
    dated.lead_source,
    dated.is_deleted
  from dated
  left join {{ ref('int_lookup') }} as owners
    on owners.entity = 'owner'
      and dated.source_relation = owners.source_relation
      and lower(trim(dated.owner_id)) = owners.lookup_text
)

select * from final
