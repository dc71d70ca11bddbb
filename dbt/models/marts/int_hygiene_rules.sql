-- Which rules a source can answer. What hits more than 80 % of the deals it is asked of is a gap of the data, said once.
{%- set rules = [
  ('is_past_due', 'open'), ('has_no_amount', 'open'), ('has_zero_amount_late', 'open'), ('has_unchanged_close_date', 'open'),
  ('has_no_next_step', 'open'), ('has_no_activity', 'open'), ('is_too_long_in_stage', 'open'), ('is_pushed_often', 'open'),
  ('has_skipped_stage', 'open'), ('has_moved_backward', 'open'), ('has_inactive_owner', 'open'), ('is_lost_without_reason', 'lost'),
  ('is_won_without_amount', 'won'), ('has_no_close_date', 'open'), ('has_no_account', 'any'), ('has_no_created_date', 'any'),
  ('has_no_owner', 'any'), ('is_won_in_future', 'won'), ('is_closed_before_created', 'any'), ('has_odd_probability', 'open')
] %}
with context as (
  select * from {{ ref('stg_run_context') }}
),

checks as (
  select * from {{ ref('int_hygiene_checks') }}
),

counted as (
  {%- for rule, status in rules %}
  select
    source_relation,
    '{{ rule }}' as rule_name,
    {{ loop.index }} as rule_number,
    count({% if status == 'any' %}*{% else %}case when status = '{{ status }}' then 1 end{% endif %}) as deals_in_scope,
    count({{ rule }}) as deals_checked,
    count(case when {{ rule }} then 1 end) as deals_failing
  from checks
  group by source_relation
  {%- if not loop.last %}
  union all
  {%- endif %}
  {%- endfor %}
),

final as (
  select
    counted.source_relation,
    counted.rule_name,
    cast(counted.rule_number as int) as rule_number,
    counted.deals_in_scope,
    counted.deals_checked,
    counted.deals_failing,
    case
      when counted.deals_in_scope = 0 then 'no_deals'
      when counted.deals_checked = 0 then 'not_told'
      when counted.deals_checked >= context.min_sample and counted.deals_failing > 0.8 * counted.deals_checked then 'gap'
      else 'told'
    end as rule_status
  from counted
  cross join context
)

select * from final
