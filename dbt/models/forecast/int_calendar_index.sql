-- When in the fiscal quarter deals are won: wins by week, against what the stages of the open deals let expect.
{%- set week_start = '(select week_start from ' ~ ref('stg_run_context') ~ ')' %}
{%- set prior_wins = '20e0' %}
with months as (
  select evidence_on from {{ ref('int_amount_tiers') }}
),

days as (
  select
    date_day,
    {{ business_week('date_day', week_start) }} as week_number,
    {{ week_of_quarter('day_of_quarter') }} as week_of_quarter,
    is_business_day
  from {{ ref('dim_date') }}
),

-- business days of a week, by the week of the quarter in which they lie
day_shares as (
  select
    parts.week_number,
    parts.week_of_quarter,
    parts.business_days / wholes.business_days as share_of_week,
    wholes.last_day
  from (
    select
      week_number,
      week_of_quarter,
      cast(sum(case when is_business_day then 1 else 0 end) as double) as business_days
    from days
    group by week_number, week_of_quarter
  ) as parts
  inner join (
    select
      week_number,
      cast(sum(case when is_business_day then 1 else 0 end) as double) as business_days,
      max(date_day) as last_day
    from days
    group by week_number
  ) as wholes
    on parts.week_number = wholes.week_number
  where parts.business_days > 0
),

at_risk as (
  select
    week_number,
    stage_key,
    sum(deals) as deals
  from {{ ref('int_hazard_histogram') }}
  where weeks_followed > 0
  group by week_number, stage_key
),

expected as (
  select
    hazards.evidence_on,
    day_shares.week_of_quarter,
    sum(at_risk.deals * hazards.win_hazard * day_shares.share_of_week) as expected_wins
  from {{ ref('int_hazard_cell') }} as hazards
  inner join at_risk on hazards.stage_key = at_risk.stage_key
  inner join day_shares
    on at_risk.week_number + 1 = day_shares.week_number
      and day_shares.last_day <= hazards.evidence_on
  where hazards.cell_level = 'stage'
    and hazards.step_number = 1
  group by hazards.evidence_on, day_shares.week_of_quarter
),

wins as (
  select
    closed_on,
    count(*) as wins
  from {{ ref('int_open_spans') }}
  where outcome = 'won'
    and valid_to_date = closed_on
    and valid_from_date < closed_on
  group by closed_on
),

observed as (
  select
    months.evidence_on,
    days.week_of_quarter,
    sum(wins.wins) as observed_wins
  from months
  inner join wins on wins.closed_on <= months.evidence_on
  inner join days on wins.closed_on = days.date_day
  group by months.evidence_on, days.week_of_quarter
),

weeks as (
  select
    expected.evidence_on,
    expected.week_of_quarter,
    coalesce(observed.observed_wins, 0) as observed_wins,
    expected.expected_wins,
    sum(coalesce(observed.observed_wins, 0)) over whole as observed_in_all,
    sum(expected.expected_wins) over whole as expected_in_all
  from expected
  left join observed
    on expected.evidence_on = observed.evidence_on
      and expected.week_of_quarter = observed.week_of_quarter
  window whole as (partition by expected.evidence_on)
),

final as (
  select
    evidence_on,
    cast(week_of_quarter as int) as week_of_quarter,
    cast(observed_wins as bigint) as observed_wins,
    cast(expected_wins as double) as expected_wins,
    cast(
      (observed_wins + {{ prior_wins }})
      / (
        case when expected_in_all > 0 then expected_wins * cast(observed_in_all as double) / expected_in_all else 0e0 end
        + {{ prior_wins }}
      ) as double
    ) as win_index
  from weeks
)

select * from final
