-- Why, where and after how long deals were lost. What a user calls a reason or a class (tables: aliases) goes before ours.
{%- set classes = ['competitor', 'price', 'budget', 'no_decision', 'timing', 'product', 'relationship', 'disqualified', 'other'] %}
{%- set reasons_shown = 40 %}
with aliases as (
  select
    lower(entity) as entity,
    lower(trim(alias)) as written,
    min(trim(canonical_name)) as canonical_name
  from {{ ref('stg_aliases') }}
  where lower(entity) in ('loss_reason', 'loss_class')
  group by lower(entity), lower(trim(alias))
),

-- the stage that a deal was lost from is the last open one it was in
last_visits as (
  select
    *,
    row_number() over (partition by deal_key order by visit_seq desc) as newest_first
  from {{ ref('int_open_visits') }}
),

ended as (
  select
    deals.deal_key,
    deals.source_relation,
    outcomes.outcome,
    outcomes.outcome_on,
    coalesce(spelt.canonical_name, nullif(trim(deals.lost_reason), '')) as reason,
    nullif(trim(records.competitor), '') as competitor,
    coalesce(visits.stage_key, {{ none_key() }}) as stage_lost_at_key,
    case when not visits.is_entry_unknown and not visits.is_bulk_entry and not visits.is_bulk_exit then visits.days_seen end as days_in_stage_lost_at
  from {{ ref('fct_deals') }} as deals
  inner join {{ ref('int_deal_outcomes') }} as outcomes on deals.deal_key = outcomes.deal_key
  inner join {{ ref('int_deals') }} as records on deals.deal_key = records.deal_key
  left join aliases as spelt
    on spelt.entity = 'loss_reason'
      and lower(trim(deals.lost_reason)) = spelt.written
  left join last_visits as visits
    on deals.deal_key = visits.deal_key
      and visits.newest_first = 1
  where outcomes.outcome in ('lost', 'closed_other')
),

-- one spelling for what differs only in case
spelt_alike as (
  select
    lower(reason) as reason_key,
    min(reason) as reason,
    row_number() over (order by count(*) desc, lower(reason)) as most_frequent_first
  from ended
  where reason is not null
  group by lower(reason)
),

classed as (
  select
    ended.deal_key,
    ended.source_relation,
    ended.outcome,
    ended.outcome_on,
    case
      when ended.reason is null then '(none)'
      when spelt_alike.most_frequent_first <= {{ reasons_shown }} then spelt_alike.reason
      else '(others)'
    end as loss_reason,
    case
      when told.canonical_name is null then {{ loss_class('ended.reason') }}
      when lower(told.canonical_name) in ('{{ classes | join("', '") }}') then lower(told.canonical_name)
      else 'other'
    end as loss_class,
    coalesce(ended.competitor, '(none)') as competitor,
    ended.stage_lost_at_key,
    ended.days_in_stage_lost_at
  from ended
  left join spelt_alike on lower(ended.reason) = spelt_alike.reason_key
  left join aliases as told
    on told.entity = 'loss_class'
      and lower(ended.reason) = told.written
),

final as (
  select
    classed.deal_key,
    classed.source_relation,
    classed.outcome,
    classed.outcome_on,
    classed.loss_class,
    classed.loss_reason,
    classed.competitor,
    classed.stage_lost_at_key,
    stages.stage as stage_lost_at,
    pipelines.pipeline,
    classed.days_in_stage_lost_at
  from classed
  inner join {{ ref('dim_stage') }} as stages on classed.stage_lost_at_key = stages.stage_key
  inner join {{ ref('dim_pipeline') }} as pipelines on stages.pipeline_key = pipelines.pipeline_key
)

select * from final
