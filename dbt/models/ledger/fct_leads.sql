-- Each lead as it stood at the end of as_of, with the deals it became and what became of them.
with context as (
  select
    as_of,
    time_zone
  from {{ ref('stg_run_context') }}
),

moves as (
  select transitions.*
  from {{ ref('fct_lead_transitions') }} as transitions
  cross join context
  where transitions.business_date <= context.as_of
),

lasts as (
  select *
  from (
    select
      *,
      row_number() over (partition by lead_key order by transition_number desc) as newest_first,
      min(business_date) over (partition by lead_key) as first_moved_on
    from moves
  ) as ranked
  where newest_first = 1
),

deals as (
  select
    lead_deals.lead_key,
    lead_deals.deal_key,
    lead_deals.deal_number,
    deals.excluded_by,
    case
      when deals.status = 'won' and not deals.is_deleted and deals.excluded_by is null and deals.won_on <= context.as_of then deals.won_on
    end as won_on
  from {{ ref('bridge_lead_deal') }} as lead_deals
  cross join context
  inner join {{ ref('fct_deals') }} as deals on lead_deals.deal_key = deals.deal_key
),

outcomes as (
  select
    lead_key,
    count(*) as deals_became,
    count(won_on) as deals_won,
    min(won_on) as first_won_on,
    min(case when deal_number = 1 then deal_key end) as first_deal_key,
    -- a lead is left out with the last of its deals
    case when count(excluded_by) = count(*) then min(excluded_by) end as excluded_by
  from deals
  group by lead_key
),

dated as (
  select
    leads.lead_key,
    leads.source_relation,
    leads.lead_id,
    leads.lead_name,
    lasts.to_stage as stage,
    lasts.to_status as status,
    leads.is_deleted,
    leads.created_at,
    coalesce({{ business_date('leads.created_at', 'context.time_zone') }}, lasts.first_moved_on) as created_on,
    leads.created_at is null as is_created_unknown,
    case when lasts.to_status = 'converted' then leads.converted_at end as converted_at,
    case when lasts.to_status = 'converted' then {{ business_date('leads.converted_at', 'context.time_zone') }} end as converted_on,
    case when lasts.to_status = 'converted' then leads.conversion_basis end as conversion_basis,
    case when lasts.to_status = 'disqualified' then lasts.business_date end as disqualified_on,
    leads.owner_id,
    leads.lead_source,
    context.as_of
  from lasts
  cross join context
  inner join {{ ref('int_leads') }} as leads on lasts.lead_key = leads.lead_key
),

final as (
  select
    dated.lead_key,
    dated.source_relation,
    dated.lead_id,
    dated.lead_name,
    dated.stage,
    dated.status,
    dated.is_deleted,
    dated.created_at,
    dated.created_on,
    dated.is_created_unknown,
    dated.converted_at,
    dated.converted_on,
    dated.conversion_basis,
    case
      when dated.conversion_basis <> 'last_seen' and not dated.is_created_unknown
        then {{ days_between('dated.created_on', 'dated.converted_on') }}
    end as days_to_conversion,
    dated.disqualified_on,
    case
      when dated.owner_id is null then {{ none_key() }}
      else {{ hash_key(['dated.source_relation', 'dated.owner_id']) }}
    end as owner_key,
    coalesce(owners.owner, dated.owner_id, '(none)') as owner,
    coalesce(dated.lead_source, '(none)') as lead_source,
    coalesce(outcomes.first_deal_key, {{ none_key() }}) as deal_key,
    coalesce(outcomes.deals_became, 0) as deals_became,
    coalesce(outcomes.deals_won, 0) as deals_won,
    outcomes.first_won_on,
    case when not dated.is_created_unknown then {{ days_between('dated.created_on', 'outcomes.first_won_on') }} end as days_to_won,
    coalesce(excluded_owners.excluded_by, outcomes.excluded_by) as excluded_by,
    dated.as_of
  from dated
  left join outcomes on dated.lead_key = outcomes.lead_key
  left join {{ ref('dim_owner') }} as owners
    on owners.owner_key = {{ hash_key(['dated.source_relation', 'dated.owner_id']) }}
  left join {{ excluded_members('owners') }} as excluded_owners on owners.owner_key = excluded_owners.member_key
)

select * from final
