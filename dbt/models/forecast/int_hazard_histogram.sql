-- Every open deal looked at on the last day of every week: where it stood, and how many weeks later it closed. Only sums,
-- so that weeks can be added; what was known on an earlier day is what had closed by then.
{%- set week_start = '(select week_start from ' ~ ref('stg_run_context') ~ ')' %}
with context as (
  select
    as_of,
    {{ last_whole_week('as_of', 'week_start') }} as last_week
  from {{ ref('stg_run_context') }}
),

week_ends as (
  select
    {{ business_week('dates.date_day', week_start) }} as week_number,
    dates.date_day as origin,
    {{ evidence_day('dates') }} as evidence_on
  from {{ ref('dim_date') }} as dates
  cross join context
  where dates.date_day = dates.week_end_on
    and dates.date_day <= context.as_of
),

-- sizes come with the weeks: joined to every deal of every week, they took half of this model's time
weeks as (
  select
    week_ends.week_number,
    week_ends.origin,
    tiers.middle_from,
    tiers.large_from,
    tiers.largest_from
  from week_ends
  left join {{ ref('int_amount_tiers') }} as tiers on week_ends.evidence_on = tiers.evidence_on
),

stage_numbers as (
  select
    stage_key,
    cast(row_number() over (order by stage_key) as int) as stage_number
  from {{ ref('dim_stage') }}
),

-- outcome: 0 open, 1 won, 2 lost
spans as (
  select
    stage_numbers.stage_number,
    {{ business_week('valid_from_date', week_start) }} as first_week,
    coalesce({{ business_week('valid_to_date', week_start) }} - 1, context.last_week) as final_week,
    {{ business_week('entered_on', week_start) }} as entered_week,
    is_entry_unknown,
    coalesce({{ business_week('closed_on', week_start) }}, context.last_week) as closed_week,
    case outcome when 'open' then 0 when 'won' then 1 else 2 end as outcome,
    open_amount,
    won_amount
  from {{ ref('int_open_spans') }} as open_spans
  inner join stage_numbers on open_spans.stage_key = stage_numbers.stage_key
  cross join context
),

-- a span of n weeks becomes n rows by equality: a join on a range of weeks compares every span with every week
lengths as (
  select
    lengths.week_number - first_week.week_number + 1 as weeks_long,
    places.week_number - first_week.week_number as place
  from weeks as lengths
  cross join (select min(week_number) as week_number from weeks) as first_week
  inner join weeks as places on lengths.week_number >= places.week_number
),

span_weeks as (
  select
    spans.*,
    spans.first_week + lengths.place as week_number
  from spans
  inner join lengths on spans.final_week - spans.first_week + 1 = lengths.weeks_long
),

seen as (
  select
    weeks.week_number,
    spans.stage_number,
    spans.is_entry_unknown,
    weeks.week_number - spans.entered_week as weeks_in_stage,
    {{ amount_tier('spans.open_amount', 'weeks') }} as amount_tier,
    case
      when spans.closed_week - weeks.week_number > {{ last_step_week() }} then {{ last_step_week() }}
      else spans.closed_week - weeks.week_number
    end as weeks_followed,
    case when spans.closed_week - weeks.week_number > {{ last_step_week() }} then 0 else spans.outcome end as outcome,
    spans.open_amount,
    spans.won_amount
  from span_weeks as spans
  inner join weeks on spans.week_number = weeks.week_number
),

classed as (
  select
    *,
    case when is_entry_unknown then -1 else {{ weeks_class('weeks_in_stage') }} end as weeks_class
  from seen
),

counted as (
  select
    week_number,
    stage_number,
    weeks_class,
    amount_tier,
    weeks_followed,
    outcome,
    count(*) as deals,
    sum(case when weeks_in_stage = case when is_entry_unknown then 0 else weeks_class end then 1 else 0 end) as deals_entering,
    count(open_amount) as priced_deals,
    coalesce(sum(open_amount), 0) as open_amount,
    coalesce(sum(case when won_amount is not null then open_amount end), 0) as open_amount_of_won,
    coalesce(sum(case when open_amount is not null then won_amount end), 0) as won_amount
  from classed
  group by week_number, stage_number, weeks_class, amount_tier, weeks_followed, outcome
),

final as (
  select
    weeks.origin,
    counted.week_number,
    stage_numbers.stage_key,
    cast(counted.weeks_class as int) as weeks_class,
    cast(counted.amount_tier as int) as amount_tier,
    cast(counted.weeks_followed as int) as weeks_followed,
    case counted.outcome when 0 then 'open' when 1 then 'won' else 'lost' end as outcome,
    cast(counted.deals as bigint) as deals,
    cast(counted.deals_entering as bigint) as deals_entering,
    cast(counted.priced_deals as bigint) as priced_deals,
    cast(counted.open_amount as decimal(38, 3)) as open_amount,
    cast(counted.open_amount_of_won as decimal(38, 3)) as open_amount_of_won,
    cast(counted.won_amount as decimal(38, 3)) as won_amount
  from counted
  inner join weeks on counted.week_number = weeks.week_number
  inner join stage_numbers on counted.stage_number = stage_numbers.stage_number
)

select * from final
