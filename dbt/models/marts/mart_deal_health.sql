{#- In the order in which they are fixed: what makes the forecast wrong first. name, severity, what is wrong, what to do. #}
{%- set rules = [
  ('is_won_in_future', 3, 'won on a day to come', 'Correct the date of the win: it is no booking until that day.'),
  ('is_won_without_amount', 3, 'won without an amount', 'Enter the amount: bookings lack this deal.'),
  ('is_past_due', 3, 'close date passed', 'Enter a close date that can still be met, or close the deal.'),
  ('has_no_close_date', 3, 'no close date', 'Enter the expected close date: the deal is in no quarter.'),
  ('has_no_amount', 3, 'no amount', 'Enter the expected amount: the pipeline lacks this deal.'),
  ('has_no_owner', 3, 'no owner', 'Give the deal an owner.'),
  ('has_inactive_owner', 3, 'owner has left', 'Hand the deal to somebody who is there.'),
  ('is_too_long_in_stage', 2, 'too long in its stage', 'Move the deal on, or close it as lost.'),
  ('has_no_activity', 2, 'no activity', 'Talk to the customer and log it, or close the deal.'),
  ('is_pushed_often', 2, 'close date pushed three times or more', 'Ask the customer for a date, and enter that one.'),
  ('has_zero_amount_late', 2, 'zero amount in a late stage', 'Enter the amount that was quoted.'),
  ('has_no_next_step', 2, 'no next step', 'Agree on a next step and enter it.'),
  ('is_lost_without_reason', 2, 'lost without a reason', 'Enter why the deal was lost.'),
  ('is_closed_before_created', 2, 'closes before it was created', 'Correct the close date or the created date.'),
  ('has_odd_probability', 2, 'probability does not fit the stage', 'Bring probability and stage together.'),
  ('has_unchanged_close_date', 1, 'close date unchanged for more than 60 days', 'Confirm the close date.'),
  ('has_moved_backward', 1, 'moved backward', 'Check that the stage is right: the deal went back.'),
  ('has_skipped_stage', 1, 'skipped a stage', 'Check that the skipped stage was done.'),
  ('has_no_account', 1, 'no account', 'Link the account.'),
  ('has_no_created_date', 1, 'no created date', 'Export the created date.'),
] %}
with context as (
  select * from {{ ref('stg_run_context') }}
),

told as (
  select
    source_relation,
    {%- for rule, severity, wrong, fix in rules %}
    max(case when rule_name = '{{ rule }}' and rule_status = 'told' then 1 else 0 end) = 1 as tells_{{ rule }},
    {%- endfor %}
    {{ sorted_list("case when rule_status in ('gap', 'not_told') then rule_name end") }} as rules_not_told
  from {{ ref('int_hygiene_rules') }}
  group by source_relation
),

checks as (
  select
    checks.deal_key,
    checks.days_seen,
    checks.is_days_in_stage_at_least,
    checks.pace_basis,
    checks.reference_visits,
    checks.median_days,
    checks.slow_after_days,
    checks.stalled_after_days,
    checks.dead_after_days,
    checks.pace,
    checks.pace_null_reason,
    checks.days_without_activity,
    checks.days_past_due,
    {%- for rule, severity, wrong, fix in rules %}
    case when told.tells_{{ rule }} then checks.{{ rule }} end as {{ rule }},
    {%- endfor %}
    told.rules_not_told
  from {{ ref('int_hygiene_checks') }} as checks
  inner join told on checks.source_relation = told.source_relation
),

judged as (
  select
    *,
    {%- for rule, severity, wrong, fix in rules %}
    case when {{ rule }} then 1 else 0 end{{ " +" if not loop.last }}
    {%- endfor %} as rules_failing,
    {%- for rule, severity, wrong, fix in rules %}
    case when {{ rule }} is not null then 1 else 0 end{{ " +" if not loop.last }}
    {%- endfor %} as rules_checked,
    case
      {%- for rule, severity, wrong, fix in rules %}
      when {{ rule }} then '{{ rule }}'
      {%- endfor %}
    end as next_best_fix_rule
  from checks
),

worded as (
  select
    *,
    case next_best_fix_rule
      {%- for rule, severity, wrong, fix in rules %}
      when '{{ rule }}' then {{ severity }}
      {%- endfor %}
    end as fix_severity,
    case next_best_fix_rule
      {%- for rule, severity, wrong, fix in rules %}
      when '{{ rule }}' then '{{ fix }}'
      {%- endfor %}
    end as next_best_fix,
    nullif(concat(
      {%- for rule, severity, wrong, fix in rules if rule not in ('is_too_long_in_stage', 'is_past_due', 'has_no_activity') %}
      case when {{ rule }} then '; {{ wrong }}' else '' end{{ "," if not loop.last }}
      {%- endfor %}
    ), '') as other_words
  from judged
),

-- a deal without an amount is as urgent as a usual one
usual as (
  select {{ quantile('cast(amount_base as double)', 0.5) }} as median_amount
  from {{ ref('fct_deals') }}
  where status = 'open' and not is_deleted and excluded_by is null
),

joined as (
  select
    worded.*,
    deals.source_relation,
    deals.deal_id,
    deals.deal_name,
    deals.deal_url,
    deals.status,
    deals.pipeline_id,
    deals.pipeline_key,
    pipelines.pipeline,
    deals.stage_id,
    deals.stage_key,
    deals.stage,
    deals.credit_owner_key as owner_key,
    owners.owner,
    owners.team_key,
    owners.team,
    deals.region,
    accounts.account,
    deals.close_date,
    deals.closed_on,
    deals.amount_base,
    worded.fix_severity * coalesce(cast(deals.amount_base as double), usual.median_amount, 0) as fix_weight,
    coalesce(worded.pace = 'dead', false) as is_dead,
    coalesce(worded.pace = 'stalled', false) or coalesce(worded.has_no_activity, false) or coalesce(worded.is_past_due, false) as is_attention_needed,
    context.as_of,
    context.definition_version
  from worded
  cross join context
  cross join usual
  inner join {{ ref('fct_deals') }} as deals on worded.deal_key = deals.deal_key
  inner join {{ ref('dim_pipeline') }} as pipelines on deals.pipeline_key = pipelines.pipeline_key
  inner join {{ ref('dim_owner') }} as owners on deals.credit_owner_key = owners.owner_key
  inner join {{ ref('dim_account') }} as accounts on deals.account_key = accounts.account_key
),

final as (
  select
    deal_key,
    source_relation,
    deal_id,
    deal_name,
    deal_url,
    status,
    pipeline_id,
    pipeline_key,
    pipeline,
    stage_id,
    stage_key,
    stage,
    owner_key,
    owner,
    team_key,
    team,
    region,
    account,
    close_date,
    closed_on,
    amount_base as deal_amount,
    case
      when status <> 'open' then null
      when is_dead then 'propose_to_close'
      when is_attention_needed then 'look_at_today'
      else 'fine'
    end as worklist,
    pace,
    pace_null_reason,
    days_seen as days_in_stage,
    case when status = 'open' then is_days_in_stage_at_least end as is_days_in_stage_at_least,
    pace_basis,
    reference_visits,
    median_days,
    slow_after_days,
    stalled_after_days,
    dead_after_days,
    days_without_activity,
    nullif(trim(concat(
      case
        when pace is null then ''
        else concat(
          case pace
            when 'dead' then 'Dead: '
            when 'stalled' then 'Stalled: '
            when 'slow' then 'Slow: '
            else 'On pace: '
          end,
          case when is_days_in_stage_at_least then 'at least ' else '' end,
          cast(cast(floor(days_seen) as bigint) as {{ dbt.type_string() }}), ' days in ', stage, '; of ',
          cast(reference_visits as {{ dbt.type_string() }}),
          case when pace_basis = 'later_won' then ' visits that later won' else ' visits of closed deals' end,
          ', half took at most ', cast(cast(ceil(median_days) as bigint) as {{ dbt.type_string() }}),
          case pace
            when 'dead' then concat(' days and hardly any more than ', cast(cast(ceil(dead_after_days) as bigint) as {{ dbt.type_string() }}))
            when 'stalled' then concat(' days and few more than ', cast(cast(ceil(stalled_after_days) as bigint) as {{ dbt.type_string() }}))
            when 'slow' then concat(' days and not many more than ', cast(cast(ceil(slow_after_days) as bigint) as {{ dbt.type_string() }}))
            else ' days'
          end,
          '. '
        )
      end,
      case when is_past_due then concat('Close date passed ', cast(days_past_due as {{ dbt.type_string() }}), ' days ago. ') else '' end,
      case when has_no_activity then concat('No activity for ', cast(days_without_activity as {{ dbt.type_string() }}), ' days. ') else '' end,
      case when other_words is not null then concat('To mend: ', substr(other_words, 3), '.') else '' end
    )), '') as reason_text,
    {%- for rule, severity, wrong, fix in rules %}
    {{ rule }},
    {%- endfor %}
    {{ safe_rate('rules_checked - rules_failing', 'rules_checked') }} as hygiene_score,
    cast(rules_checked - rules_failing as bigint) as hygiene_score_numerator,
    cast(rules_checked as bigint) as hygiene_score_denominator,
    rules_not_told,
    next_best_fix_rule,
    next_best_fix,
    cast(fix_severity as int) as fix_severity,
    case
      when next_best_fix_rule is not null
        then cast(row_number() over (order by case when next_best_fix_rule is null then 1 else 0 end, fix_weight desc nulls last, source_relation, deal_id) as bigint)
    end as fix_priority,
    as_of,
    definition_version
  from joined
)

select * from final
