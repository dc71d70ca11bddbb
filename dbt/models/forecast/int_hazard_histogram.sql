-- Every open deal looked at on the last day of every week: where it stood, and how many weeks later it closed. Only sums,
-- so that weeks can be added; what was known on an earlier day is what had closed by then.
{%- set week_start = '(select week_start from ' ~ ref('stg_run_context') ~ ')' %}
with context as (
  select
    as_of,
    {{ last_whole_week('as_of', 'week_start') }} as last_week
  from {{ ref('stg_run_context') }}
),

weeks as (
  select
    {{ business_week('dates.date_day', week_start) }} as week_number,
    dates.date_day as origin,
    {{ evidence_day('dates') }} as evidence_on
  from {{ ref('dim_date') }} as dates
  cross join context
  where dates.date_day = dates.week_end_on
    and dates.date_day <= context.as_of
),

spans as (
  select
    stage_key,
    {{ business_week('valid_from_date', week_start) }} as first_week,
    coalesce({{ business_week('valid_to_date', week_start) }} - 1, context.last_week) as final_week,
    {{ business_week('entered_on', week_start) }} as entered_week,
    is_entry_unknown,
    coalesce({{ business_week('closed_on', week_start) }}, context.last_week) as closed_week,
    outcome,
    open_amount,
    won_amount
  from {{ ref('int_open_spans') }}
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
    weeks.origin,
    spans.stage_key,
    spans.is_entry_unknown,
    weeks.week_number - spans.entered_week as weeks_in_stage,
    {{ amount_tier('spans.open_amount', 'tiers') }} as amount_tier,
    case
      when spans.closed_week - weeks.week_number > {{ last_step_week() }} then {{ last_step_week() }}
      else spans.closed_week - weeks.week_number
    end as weeks_followed,
    case when spans.closed_week - weeks.week_number > {{ last_step_week() }} then 'open' else spans.outcome end as outcome,
    spans.open_amount,
    spans.won_amount
  from span_weeks as spans
  inner join weeks on spans.week_number = weeks.week_number
  left join {{ ref('int_amount_tiers') }} as tiers on weeks.evidence_on = tiers.evidence_on
),

classed as (
  select
    *,
    case when is_entry_unknown then -1 else {{ weeks_class('weeks_in_stage') }} end as weeks_class
  from seen
),

final as (
  select
    origin,
    week_number,
    stage_key,
    cast(weeks_class as int) as weeks_class,
    cast(amount_tier as int) as amount_tier,
    cast(weeks_followed as int) as weeks_followed,
    outcome,
    cast(count(*) as bigint) as deals,
    cast(sum(case when weeks_in_stage = case when is_entry_unknown then 0 else weeks_class end then 1 else 0 end) as bigint) as deals_entering,
    cast(count(open_amount) as bigint) as priced_deals,
    cast(coalesce(sum(open_amount), 0) as decimal(38, 3)) as open_amount,
    cast(coalesce(sum(case when won_amount is not null then open_amount end), 0) as decimal(38, 3)) as open_amount_of_won,
    cast(coalesce(sum(case when open_amount is not null then won_amount end), 0) as decimal(38, 3)) as won_amount
  from classed
  group by origin, week_number, stage_key, weeks_class, amount_tier, weeks_followed, outcome
)

select * from final
