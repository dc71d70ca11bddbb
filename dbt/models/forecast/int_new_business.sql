-- What a deal that opens brings, by the weeks since it opened; reopened deals open again.
{%- set week_start = '(select week_start from ' ~ ref('stg_run_context') ~ ')' %}
{%- set weeks_back = 104 %}
with months as (
  select
    evidence_on,
    {{ last_whole_week('evidence_on', week_start) }} as last_week
  from {{ ref('int_amount_tiers') }}
),

arrivals as (
  select
    {{ business_week('arrived_on', week_start) }} as arrived_week,
    {{ business_week('closed_on', week_start) }} as closed_week,
    outcome,
    won_amount
  from {{ ref('int_open_spans') }}
  where valid_from_date = arrived_on
    and not is_entry_unknown
),

by_week as (
  select
    arrived_week,
    count(*) as deals
  from arrivals
  group by arrived_week
),

won_by_age as (
  select
    arrived_week,
    closed_week - arrived_week as age_weeks,
    count(*) as deals,
    coalesce(sum(won_amount), 0) as won_amount
  from arrivals
  where outcome = 'won'
  group by arrived_week, closed_week - arrived_week
),

ages as (
  select from_week as age_weeks
  from ({{ hazard_steps() }}) as steps
  where step_number <= 26
  {%- for age in range(26, 80) %}
  union all
  select {{ age }} as age_weeks
  {%- endfor %}
),

followed as (
  select
    months.evidence_on,
    ages.age_weeks,
    sum(by_week.deals) as deals
  from months
  cross join ages
  inner join by_week
    on by_week.arrived_week + ages.age_weeks <= months.last_week
      and by_week.arrived_week > months.last_week - {{ weeks_back }}
  group by months.evidence_on, ages.age_weeks
),

won as (
  select
    months.evidence_on,
    won_by_age.age_weeks,
    sum(won_by_age.deals) as deals,
    sum(won_by_age.won_amount) as won_amount
  from months
  inner join won_by_age
    on won_by_age.arrived_week + won_by_age.age_weeks <= months.last_week
      and won_by_age.arrived_week > months.last_week - {{ weeks_back }}
  group by months.evidence_on, won_by_age.age_weeks
),

final as (
  select
    followed.evidence_on,
    cast(followed.age_weeks as int) as age_weeks,
    cast(followed.deals as bigint) as deals_followed,
    cast(coalesce(won.deals, 0) as bigint) as deals_won,
    cast(coalesce(won.won_amount, 0) as decimal(38, 3)) as won_amount
  from followed
  left join won
    on followed.evidence_on = won.evidence_on
      and followed.age_weeks = won.age_weeks
)

select * from final
