{{ config(materialized='view') }}
-- The whole way of a business chance: what leads moved before, then the deal. A path is a deal, or a lead that is none (yet).
with lead_steps as (
  select
    coalesce(lead_deals.deal_key, transitions.lead_key) as path_id,
    transitions.lead_key,
    coalesce(lead_deals.deal_key, {{ none_key() }}) as deal_key,
    transitions.source_relation,
    transitions.transition_id,
    transitions.transition_number,
    transitions.from_stage,
    transitions.to_stage,
    transitions.to_status,
    transitions.transitioned_at,
    transitions.exited_at,
    transitions.business_date,
    transitions.exited_date,
    transitions."days",
    transitions.is_inferred
  from {{ ref('fct_lead_transitions') }} as transitions
  left join {{ ref('bridge_lead_deal') }} as lead_deals on transitions.lead_key = lead_deals.lead_key
),

numbered as (
  select
    *,
    row_number() over (partition by path_id order by transitioned_at, lead_key, transition_number) as step_number
  from lead_steps
),

before_the_deal as (
  select
    path_id,
    count(*) as lead_steps
  from lead_steps
  group by path_id
),

deal_starts as (
  select
    deal_key,
    transitioned_at
  from {{ ref('fct_stage_transitions') }}
  where transition_number = 1
    and deal_key in (select deal_key from {{ ref('bridge_lead_deal') }})
),

final as (
  select
    numbered.path_id,
    cast(numbered.step_number as int) as step_number,
    'lead' as step_of,
    numbered.source_relation,
    numbered.lead_key,
    numbered.deal_key,
    numbered.transition_id,
    numbered.from_stage,
    numbered.to_stage,
    numbered.to_status,
    numbered.transitioned_at,
    numbered.exited_at,
    numbered.business_date,
    numbered.exited_date,
    numbered."days",
    numbered.is_inferred,
    coalesce(numbered.transitioned_at > deal_starts.transitioned_at, false) as is_after_deal_start
  from numbered
  left join deal_starts on numbered.path_id = deal_starts.deal_key
  union all
  select
    transitions.path_id,
    cast(coalesce(before_the_deal.lead_steps, 0) + transitions.transition_number as int) as step_number,
    'deal' as step_of,
    transitions.source_relation,
    {{ none_key() }} as lead_key,
    transitions.deal_key,
    transitions.transition_id,
    transitions.from_stage,
    transitions.to_stage,
    transitions.to_status,
    transitions.transitioned_at,
    transitions.exited_at,
    transitions.business_date,
    transitions.exited_date,
    transitions."days",
    transitions.is_inferred,
    false as is_after_deal_start
  from {{ ref('fct_stage_transitions') }} as transitions
  left join before_the_deal on transitions.path_id = before_the_deal.path_id
)

select * from final
