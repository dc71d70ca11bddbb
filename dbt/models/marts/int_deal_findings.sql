-- What is wrong with which deals, counted. A rule is a scope (the deals it is asked of) and a condition; words: mart_data_quality.
{%- set rules = [
  ('open_without_amount', "status = 'open'", 'amount_native is null', "'(all)'"),
  ('open_with_zero_amount', "status = 'open' and amount_native is not null", 'amount_native <= 0', "'(all)'"),
  ('won_without_amount', "status = 'won'", 'amount_native is null', "'(all)'"),
  ('won_with_zero_amount', "status = 'won' and amount_native is not null", 'amount_native <= 0', "'(all)'"),
  ('lost_without_amount', "status = 'lost'", 'coalesce(amount_native, 0) <= 0', "'(all)'"),
  ('currency_assumed', 'amount_native is not null', 'is_currency_assumed', "'(all)'"),
  ('exchange_rate_missing', 'amount_native is not null', 'is_rate_missing', 'currency'),
  ('plan_rate_missing', 'amount_native is not null and is_plan_rate_missing is not null', 'is_plan_rate_missing', 'currency'),
  ('without_account', 'true', 'is_account_missing', "'(all)'"),
  ('without_product', 'true', 'is_product_missing', "'(all)'"),
  ('without_owner', 'true', 'is_owner_missing', "'(all)'"),
  ('without_created_date', 'true', 'created_on is null', "'(all)'"),
  ('without_start_date', 'true', 'started_on is null', "'(all)'"),
  ('closed_before_created', "status in ('won', 'lost') and started_on is not null", 'coalesce(won_on, lost_on) < started_on', "'(all)'"),
  ('won_in_future', "status = 'won'", 'won_on > as_of', "'(all)'"),
  ('lost_in_future', "status = 'lost'", 'lost_on > as_of', "'(all)'"),
  ('closed_without_close_date', "status in ('won', 'lost')", 'close_date is null', "'(all)'"),
  ('open_without_close_date', "status = 'open'", 'close_date is null', "'(all)'"),
  ('open_past_close_date', "status = 'open' and close_date is not null", 'close_date < as_of', "'(all)'"),
  ('lost_without_reason', "status = 'lost'", 'lost_reason is null', "'(all)'"),
  ('created_as_closed', "status <> 'open'", 'is_import', "'(all)'"),
  ('open_with_inactive_owner', "status = 'open' and not is_owner_missing", 'is_owner_inactive', "'(all)'"),
  ('stage_entry_unknown', 'true', 'has_first_seen', "'(all)'"),
  ('history_left_truncated', 'true', 'has_left_truncated', "'(all)'"),
  ('history_gap', 'true', 'has_gap', "'(all)'"),
  ('record_differs_from_history', 'true', 'has_record_mismatch', "'(all)'"),
  ('moved_before_created_or_after_read', 'true', 'has_clamped', "'(all)'"),
  ('order_uncertain', 'true', 'has_order_uncertain', "'(all)'"),
  ('moved_in_bulk', 'true', 'has_bulk_change', "'(all)'"),
  ('moved_and_back_at_once', 'true', 'has_transient', "'(all)'"),
] %}
{%- set names = [
  ('unknown_product', 'product', 'stg_products'),
  ('unknown_account', 'account', 'stg_accounts'),
  ('unknown_owner', 'owner', 'stg_owners'),
  ('unknown_stage', 'stage', 'stg_stages'),
] %}
with deals as (
  select * from {{ ref('fct_deals') }}
  where not is_deleted and excluded_by is null
),

moves as (
  select
    {%- for column, condition in [
      ('has_first_seen', "coalesce(transitions.inference_rule, '') = 'snapshot_first_seen'"),
      ('has_left_truncated', 'transitions.is_left_truncated'),
      ('has_gap', 'transitions.has_gap'),
      ('has_record_mismatch', "coalesce(transitions.inference_rule, '') = 'current_stage'"),
      ('has_clamped', 'transitions.is_clamped'),
      ('has_order_uncertain', 'transitions.order_uncertain'),
      ('has_bulk_change', 'transitions.is_bulk_change'),
      ('has_transient', 'transitions.is_transient'),
    ] %}
      max(case when {{ condition }} then 1 else 0 end) = 1 as {{ column }},
    {%- endfor %}
    transitions.deal_key
  from {{ ref('fct_stage_transitions') }} as transitions
  inner join deals on transitions.deal_key = deals.deal_key
  where transitions.business_date <= deals.as_of
  group by transitions.deal_key
),

facts as (
  select
    deals.*,
    outcomes.started_on,
    deals.account_key = {{ none_key() }} as is_account_missing,
    deals.product_key = {{ none_key() }} and lines.deal_key is null as is_product_missing,
    deals.owner_key = {{ none_key() }} as is_owner_missing,
    not owners.is_active as is_owner_inactive,
    moves.has_first_seen,
    moves.has_left_truncated,
    moves.has_gap,
    moves.has_record_mismatch,
    moves.has_clamped,
    moves.has_order_uncertain,
    moves.has_bulk_change,
    moves.has_transient
  from deals
  inner join {{ ref('int_deal_outcomes') }} as outcomes on deals.deal_key = outcomes.deal_key
  inner join moves on deals.deal_key = moves.deal_key
  inner join {{ ref('dim_owner') }} as owners on deals.owner_key = owners.owner_key
  left join (
    select deal_key
    from {{ ref('fct_line_items') }}
    where product_key <> {{ none_key() }}
    group by deal_key
  ) as lines on deals.deal_key = lines.deal_key
),

-- the names that deals write, as many as a deal writes
written_names as (
  select deals.source_relation, deals.deal_id, deals.deal_key, 'product' as entity, products.product_id as written_name, products.is_unknown
  from deals
  inner join {{ ref('dim_product') }} as products on deals.product_key = products.product_key
  union
  select deals.source_relation, deals.deal_id, deals.deal_key, 'product' as entity, products.product_id as written_name, products.is_unknown
  from {{ ref('fct_line_items') }} as lines
  inner join deals on lines.deal_key = deals.deal_key
  inner join {{ ref('dim_product') }} as products on lines.product_key = products.product_key
  union all
  select deals.source_relation, deals.deal_id, deals.deal_key, 'account' as entity, accounts.account_id as written_name, accounts.is_unknown
  from deals
  inner join {{ ref('dim_account') }} as accounts on deals.account_key = accounts.account_key
  union all
  select deals.source_relation, deals.deal_id, deals.deal_key, 'owner' as entity, owners.owner_id as written_name, owners.is_only_in_deals
  from deals
  inner join {{ ref('dim_owner') }} as owners on deals.owner_key = owners.owner_key
  union all
  select deals.source_relation, deals.deal_id, deals.deal_key, 'stage' as entity, stages.stage_id as written_name, stages.is_deleted
  from {{ ref('fct_stage_transitions') }} as transitions
  inner join deals on transitions.deal_key = deals.deal_key
  inner join {{ ref('dim_stage') }} as stages on transitions.to_stage_key = stages.stage_key
  where transitions.business_date <= deals.as_of
  group by deals.source_relation, deals.deal_id, deals.deal_key, stages.stage_id, stages.is_deleted
),

sources as (
  select source_relation
  from deals
  group by source_relation
),

checked as (
  {%- for rule, scope, condition, subject in rules %}
    select source_relation, '{{ rule }}' as rule_name, count(case when {{ scope }} then 1 end) as deals_checked
    from facts
    group by source_relation
    union all
  {%- endfor %}
  {%- for rule, entity, known in names %}
  -- where no file tells the names, no name is unknown
    select
      sources.source_relation,
      '{{ rule }}' as rule_name,
      count(distinct case when told.source_relation is not null and written_names.written_name <> '(none)' then written_names.deal_key end) as deals_checked
    from sources
    left join (select source_relation from {{ ref(known) }} group by source_relation) as told
      on sources.source_relation = told.source_relation
    left join written_names
      on sources.source_relation = written_names.source_relation
        and written_names.entity = '{{ entity }}'
    group by sources.source_relation
    {%- if not loop.last %}
      union all
    {%- endif %}
  {%- endfor %}
),

hits as (
  {%- for rule, scope, condition, subject in rules %}
    select source_relation, '{{ rule }}' as rule_name, {{ subject }} as subject, deal_id
    from facts
    where {{ scope }} and {{ condition }}
    union all
  {%- endfor %}
  {%- for rule, entity, known in names %}
    select source_relation, '{{ rule }}' as rule_name, written_name as subject, deal_id
    from written_names
    where entity = '{{ entity }}' and is_unknown
    {%- if not loop.last %}
      union all
    {%- endif %}
  {%- endfor %}
),

affected as (
  select
    hits.source_relation,
    hits.rule_name,
    count(distinct hits.deal_id) as deals_affected
  from hits
  group by hits.source_relation, hits.rule_name
),

rules as (
  select
    checked.source_relation,
    checked.rule_name,
    checked.deals_checked,
    case when checked.deals_checked = 0 then 0 else coalesce(affected.deals_affected, 0) end as rule_deals_affected,
    checked.deals_checked > 0 and coalesce(affected.deals_affected, 0) > 0.8 * checked.deals_checked as is_gap
  from checked
  left join affected
    on checked.source_relation = affected.source_relation
      and checked.rule_name = affected.rule_name
),

by_subject as (
  select
    hits.source_relation,
    hits.rule_name,
    hits.subject,
    count(*) as deals_affected,
    row_number() over (partition by hits.source_relation, hits.rule_name order by count(*) desc, hits.subject) as subject_rank
  from hits
  inner join rules
    on hits.source_relation = rules.source_relation
      and hits.rule_name = rules.rule_name
  where not rules.is_gap and rules.deals_checked > 0
  group by hits.source_relation, hits.rule_name, hits.subject
),

-- the twenty most frequent names one by one, the others together
subjects as (
  select
    *,
    case when subject_rank <= 20 then subject else '(others)' end as shown_subject
  from by_subject
),

numbered as (
  select
    hits.source_relation,
    hits.rule_name,
    subjects.shown_subject,
    hits.deal_id,
    row_number() over (partition by hits.source_relation, hits.rule_name, subjects.shown_subject order by hits.deal_id) as sample_number
  from hits
  inner join subjects
    on hits.source_relation = subjects.source_relation
      and hits.rule_name = subjects.rule_name
      and hits.subject = subjects.subject
),

findings as (
  select
    source_relation,
    rule_name,
    shown_subject as subject,
    count(distinct deal_id) as deals_affected,
    {{ sorted_list('case when sample_number <= 5 then deal_id end') }} as sample_ids
  from numbered
  group by source_relation, rule_name, shown_subject
),

final as (
  select
    rules.source_relation,
    rules.rule_name,
    coalesce(findings.subject, '(all)') as subject,
    coalesce(findings.deals_affected, rules.rule_deals_affected) as deals_affected,
    rules.deals_checked,
    rules.rule_deals_affected,
    rules.is_gap,
    findings.sample_ids
  from rules
  left join findings
    on rules.source_relation = findings.source_relation
      and rules.rule_name = findings.rule_name
)

select * from final
