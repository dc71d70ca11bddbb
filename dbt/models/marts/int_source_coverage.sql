-- How much of what the metrics need each source tells.
with context as (
  select * from {{ ref('stg_run_context') }}
),

deals as (
  select
    deals.*,
    outcomes.started_on,
    outcomes.outcome,
    outcomes.cycle_days,
    outcomes.cycle_start_basis,
    owners.team
  from {{ ref('fct_deals') }} as deals
  inner join {{ ref('int_deal_outcomes') }} as outcomes on deals.deal_key = outcomes.deal_key
  inner join {{ ref('dim_owner') }} as owners on deals.credit_owner_key = owners.owner_key
  where not deals.is_deleted and deals.excluded_by is null
),

products as (
  select deal_key
  from {{ ref('fct_line_items') }}
  where product_key <> {{ none_key() }}
  group by deal_key
),

deal_counts as (
  select
    deals.source_relation,
    {%- for column, condition in [
      ('deals_with_created_date', 'deals.created_on is not null'),
      ('deals_with_start', 'deals.started_on is not null'),
      ('deals_with_amount', 'deals.amount_base is not null'),
      ('deals_with_amount_history', "deals.amount_base is not null and deals.amount_asof_quality = 'history'"),
      ('deals_with_close_date', 'deals.close_date is not null'),
      ('deals_with_close_date_history', "deals.close_date is not null and deals.close_date_asof_quality = 'history'"),
      ('open_deals', "deals.status = 'open'"),
      ('open_with_start', "deals.status = 'open' and deals.started_on is not null"),
      ('open_with_amount', "deals.status = 'open' and deals.amount_base is not null"),
      ('open_with_close_date', "deals.status = 'open' and deals.close_date is not null"),
      ('open_with_next_step', "deals.status = 'open' and trim(deals.next_step) <> ''"),
      ('open_with_activity', "deals.status = 'open' and deals.last_activity_at is not null"),
      ('won_deals', "deals.outcome = 'won'"),
      ('won_with_amount', "deals.outcome = 'won' and deals.amount_base is not null"),
      ('won_with_plan_amount', "deals.outcome = 'won' and deals.amount_plan is not null"),
      ('won_in_cycle', 'deals.cycle_days is not null'),
      ('won_in_cycle_from_created', "deals.cycle_start_basis = 'created'"),
      ('won_not_imported', "deals.outcome = 'won' and not deals.is_import"),
      ('lost_deals', "deals.outcome = 'lost'"),
      ('lost_with_positive_amount', "deals.outcome = 'lost' and deals.amount_base > 0"),
      ('lost_with_class', "deals.outcome = 'lost' and lost.loss_class not in ('unknown', 'other')"),
      ('lost_with_reason', "deals.outcome = 'lost' and deals.lost_reason is not null"),
      ('deals_with_owner', 'deals.credit_owner_key <> ' ~ none_key()),
      ('deals_with_team', "deals.team <> '(none)'"),
      ('deals_with_product', 'deals.product_key <> ' ~ none_key() ~ ' or products.deal_key is not null'),
      ('deals_with_account', 'deals.account_key <> ' ~ none_key()),
      ('deals_with_industry', "deals.industry <> '(none)'"),
      ('deals_with_region', "deals.region <> '(none)'"),
      ('deals_with_country', "deals.country <> '(none)'"),
      ('deals_with_source', "deals.lead_source <> '(none)'"),
      ('deals_with_lead', 'leads.deal_key is not null'),
      ('deals_with_deal_type', "deals.deal_type <> '(none)'"),
    ] %}
      count(case when {{ condition }} then 1 end) as {{ column }},
    {%- endfor %}
    count(*) as deals
  from deals
  left join products on deals.deal_key = products.deal_key
  left join {{ ref('int_lost_deals') }} as lost on deals.deal_key = lost.deal_key
  left join (select deal_key from {{ ref('bridge_lead_deal') }} group by deal_key) as leads on deals.deal_key = leads.deal_key
  group by deals.source_relation
),

-- open deals that can be compared with finished ones, and the rules that can be asked
paced as (
  select
    source_relation,
    count(case when pace_basis is not null then 1 end) as open_with_pace_basis
  from {{ ref('int_hygiene_checks') }}
  where status = 'open'
  group by source_relation
),

rules as (
  select
    source_relation,
    count(case when rule_status <> 'no_deals' then 1 end) as hygiene_rules,
    count(case when rule_status = 'told' then 1 end) as hygiene_rules_told
  from {{ ref('int_hygiene_rules') }}
  group by source_relation
),

-- what began and is not over by as_of
categories as (
  select
    deals.source_relation,
    cast(sum(changes.sign) as bigint) as open_with_category
  from {{ ref('int_forecast_category_changes') }} as changes
  inner join deals on changes.deal_key = deals.deal_key
  where changes.forecast_category not in ('closed', '(none)')
  group by deals.source_relation
),

reps as (
  select
    deals.source_relation,
    count(distinct owners.owner) as reps,
    count(distinct quotas.segment) as reps_with_quota
  from deals
  inner join {{ ref('dim_owner') }} as owners on deals.owner_key = owners.owner_key
  inner join {{ ref('dim_date') }} as calendar on deals.as_of = calendar.date_day
  left join {{ ref('fct_quota') }} as quotas
    on quotas.segment_type = 'owner'
      and owners.owner = quotas.segment
      and quotas.period_type = 'quarter'
      and calendar.quarter_label = quotas.period
  where deals.status = 'open' and owners.owner_key <> {{ none_key() }}
  group by deals.source_relation
),

first_stages as (
  select
    source_relation,
    {{ sorted_list('stage') }} as first_stages
  from {{ ref('dim_stage') }}
  where stage_order = 1 and is_open
  group by source_relation
),

visit_counts as (
  select
    visits.source_relation,
    count(*) as open_stage_visits,
    count(case when not visits.is_entry_unknown then 1 end) as open_stage_visits_dated,
    count(distinct case when not visits.is_entry_unknown then visits.deal_key end) as deals_with_dated_visit,
    count(distinct case when not visits.is_entry_unknown and visits.stage_rank = 1 then visits.deal_key end) as deals_with_dated_first_stage
  from {{ ref('int_stage_visits') }} as visits
  inner join deals on visits.deal_key = deals.deal_key
  where visits.is_open_stage and visits.entered_on <= deals.as_of
  group by visits.source_relation
),

quarters as (
  select
    history.source_relation,
    count(*) as full_quarters
  from {{ ref('int_sales_history') }} as history
  inner join {{ ref('int_periods') }} as periods
    on periods.period_type = 'quarter'
      and periods.is_complete_period
      and periods.period_start >= history.complete_from_on
  group by history.source_relation
),

quotas as (
  select count(distinct quotas.period) as quarters_with_quota
  from {{ ref('fct_quota') }} as quotas
  inner join {{ ref('dim_date') }} as calendar
    on quotas.period = calendar.quarter_label
      and calendar.quarter_offset between 0 and 4
  where quotas.period_type = 'quarter' and quotas.quota_amount is not null
),

final as (
  select
    deal_counts.*,
    coalesce(first_stages.first_stages, 'the first stage') as first_stages,
    coalesce(visit_counts.open_stage_visits, 0) as open_stage_visits,
    coalesce(visit_counts.open_stage_visits_dated, 0) as open_stage_visits_dated,
    coalesce(visit_counts.deals_with_dated_visit, 0) as deals_with_dated_visit,
    coalesce(visit_counts.deals_with_dated_first_stage, 0) as deals_with_dated_first_stage,
    coalesce(quarters.full_quarters, 0) as full_quarters,
    quotas.quarters_with_quota,
    coalesce(paced.open_with_pace_basis, 0) as open_with_pace_basis,
    coalesce(rules.hygiene_rules, 0) as hygiene_rules,
    coalesce(rules.hygiene_rules_told, 0) as hygiene_rules_told,
    coalesce(categories.open_with_category, 0) as open_with_category,
    coalesce(reps.reps, 0) as reps,
    coalesce(reps.reps_with_quota, 0) as reps_with_quota,
    submissions.submissions,
    submissions.submissions_usable,
    submissions.submitters,
    submissions.submitters_measured,
    context.qualified_stage is not null as has_qualified_stage
  from deal_counts
  cross join context
  cross join quotas
  cross join {{ ref('int_submission_coverage') }} as submissions
  left join first_stages on deal_counts.source_relation = first_stages.source_relation
  left join visit_counts on deal_counts.source_relation = visit_counts.source_relation
  left join quarters on deal_counts.source_relation = quarters.source_relation
  left join paced on deal_counts.source_relation = paced.source_relation
  left join rules on deal_counts.source_relation = rules.source_relation
  left join categories on deal_counts.source_relation = categories.source_relation
  left join reps on deal_counts.source_relation = reps.source_relation
)

select * from final
