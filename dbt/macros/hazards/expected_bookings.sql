{# What is expected to be still booked: of open deals, and of deals that open later. #}

{# Expected bookings of the open book per day and quarter offset 0 to 4. book: as_of, evidence_on, stage_key, time_bin,
   amount_tier, deals, priced_deals, open_amount; curves: win_curves of its cells. #}
{% macro expected_from_open(book, curves, amounts) -%}
{%- for offset in range(5) %}
{{ 'union all ' if not loop.first }}select
  book.as_of,
  {{ offset }} as quarter_offset,
  sum(
    (curves.p_win_{{ offset }}{{ ' - curves.p_win_' ~ (offset - 1) if offset }})
    * (
      cast(book.open_amount as double) * coalesce(of_stage.price_factor, of_all.price_factor)
      + (book.deals - book.priced_deals) * coalesce(of_all.average_won_amount, 0e0)
    )
  ) as open_expected
from {{ book }} as book
inner join {{ curves }} as curves
  on book.as_of = curves.as_of
    and book.stage_key = curves.stage_key
    and book.time_bin = curves.time_bin
    and book.amount_tier = curves.amount_tier
inner join {{ amounts }} as of_all
  on book.evidence_on = of_all.evidence_on
    and of_all.stage_key = '(all)'
left join {{ amounts }} as of_stage
  on book.evidence_on = of_stage.evidence_on
    and book.stage_key = of_stage.stage_key
group by book.as_of
{%- endfor %}
{%- endmacro %}

{# How many deals will open on a business day of each week ahead, per day asked about. Two views: the rate of the last
   half year, moved on by half of its change since the year before; and the same seven weeks of the year before times that
   change. Few deals tell little: the change counts by m / (m + 44), where 1 / m is the variance of its counts (44: changes
   of 15 % are usual), the season by n / (n + 100) of its n deals (100: seasons of 10 % are usual). Before a year and a
   half of history there is only the first view, without a change. #}
{% macro expected_arrivals(days, spans, dates) -%}
{%- set half_year, year = 26, 52 %}
with arrivals as (
  select
    arrived_on,
    count(*) as deals
  from {{ spans }}
  where valid_from_date = arrived_on
    and not is_entry_unknown
  group by arrived_on
),

first_arrival as (
  select min(arrived_on) as first_on from arrivals
),

past_weeks as (
  select
    days.as_of,
    cast(floor({{ days_between('dates.date_day', 'days.as_of') }} / 7.0e0) as int) as weeks_ago,
    cast(sum(coalesce(arrivals.deals, 0)) as double) as deals,
    cast(sum(case when dates.is_business_day then 1 else 0 end) as double) as business_days
  from {{ days }} as days
  cross join first_arrival
  inner join {{ dates }} as dates
    on dates.date_day > {{ add_days('days.as_of', '-7 * ' ~ (year + half_year)) }}
      and dates.date_day <= days.as_of
      and dates.date_day >= first_arrival.first_on
  left join arrivals on dates.date_day = arrivals.arrived_on
  group by days.as_of, cast(floor({{ days_between('dates.date_day', 'days.as_of') }} / 7.0e0) as int)
),

rates as (
  select
    as_of,
    sum(case when weeks_ago < {{ half_year }} then deals else 0e0 end)
    / sum(case when weeks_ago < {{ half_year }} then business_days else 0e0 end) as recent,
    case
      when max(weeks_ago) = {{ year + half_year - 1 }}
        and sum(case when weeks_ago >= {{ year }} then deals else 0e0 end) > 0
        then sum(case when weeks_ago >= {{ year }} then deals else 0e0 end)
          / sum(case when weeks_ago >= {{ year }} then business_days else 0e0 end)
    end as year_before,
    sum(case when weeks_ago < {{ half_year }} then deals else 0e0 end)
    * sum(case when weeks_ago >= {{ year }} then deals else 0e0 end)
    / greatest(sum(case when weeks_ago < {{ half_year }} or weeks_ago >= {{ year }} then deals else 0e0 end), 1e0) as deals_compared
  from past_weeks
  group by as_of
  having sum(case when weeks_ago < {{ half_year }} then business_days else 0e0 end) >= 20
),

changes as (
  select
    as_of,
    recent,
    year_before is not null as has_year_before,
    coalesce(
      1e0 + (least(greatest(recent / year_before, 0.67e0), 1.5e0) - 1e0) * deals_compared / (deals_compared + 44e0), 1e0
    ) as change
  from rates
),

weeks as (
  select week_ahead
  from ({% for week in range(1, 80) %}{{ 'union all ' if not loop.first }}select {{ week }} as week_ahead {% endfor %}) as numbers
),

seasons as (
  select
    past_weeks.as_of,
    weeks.week_ahead,
    sum(past_weeks.deals) / sum(past_weeks.business_days) as deals_a_day,
    sum(past_weeks.deals) / (sum(past_weeks.deals) + 100e0) as weight
  from past_weeks
  inner join weeks
    on past_weeks.weeks_ago between {{ year - 3 }} - weeks.week_ahead and {{ year + 3 }} - weeks.week_ahead
      and weeks.week_ahead <= {{ year - 3 }}
  group by past_weeks.as_of, weeks.week_ahead
  having sum(past_weeks.business_days) > 0
)

select
  changes.as_of,
  weeks.week_ahead,
  case
    when changes.has_year_before and seasons.deals_a_day is not null
      then seasons.weight * seasons.deals_a_day * changes.change + (1e0 - seasons.weight) * changes.recent * {{ moved_on() }}
    else changes.recent * {{ moved_on() }}
  end as deals_a_day
from changes
cross join weeks
left join seasons
  on changes.as_of = seasons.as_of
    and weeks.week_ahead = seasons.week_ahead
{%- endmacro %}

{# The recent rate stands for the middle of the last half year, 13 weeks ago. #}
{% macro moved_on() -%}
(1e0 + 0.5e0 * (changes.change - 1e0) * (13 + weeks.week_ahead) / 52e0)
{%- endmacro %}

{# Expected bookings per day and quarter offset of deals that are not open yet: those that will open in each week ahead
   times what such deals bring by the weeks since they opened. arrivals: expected_arrivals of the days. #}
{% macro expected_from_new(days, exposures, arrivals, new_business) -%}
with weeks as (
  select
    as_of,
    week_ahead,
    sum(business_days) as business_days
  from {{ exposures }}
  where week_ahead < 80
  group by as_of, week_ahead
),

brought as (
  select
    days.as_of,
    arrivals.week_ahead + new_business.age_weeks as week_ahead,
    sum(arrivals.deals_a_day * weeks.business_days * cast(new_business.won_amount as double) / new_business.deals_followed) as amount
  from {{ days }} as days
  inner join {{ arrivals }} as arrivals on days.as_of = arrivals.as_of
  inner join weeks
    on arrivals.as_of = weeks.as_of
      and arrivals.week_ahead = weeks.week_ahead
  inner join {{ new_business }} as new_business
    on days.evidence_on = new_business.evidence_on
      and arrivals.week_ahead + new_business.age_weeks < 80
  group by days.as_of, arrivals.week_ahead + new_business.age_weeks
)

select
  exposures.as_of,
  exposures.quarter_offset,
  sum(brought.amount * exposures.win_exposure * (steps.to_week - steps.from_week)) as new_expected
from {{ exposures }} as exposures
inner join ({{ hazard_steps() }}) as steps on exposures.step_number = steps.step_number
inner join brought
  on exposures.as_of = brought.as_of
    and exposures.week_ahead = brought.week_ahead
where exposures.quarter_offset <= 4
group by exposures.as_of, exposures.quarter_offset
{%- endmacro %}

{# Both parts side by side, for the days whose evidence holds 30 wins and deals followed for half a year:
   before that, new business would be taken for none. An empty book, or the last day of a quarter, expects nothing. #}
{% macro expected_bookings(days, from_open, from_new, calendar_index, new_business) -%}
select
  days.as_of,
  days.quarter_number + cast(offsets.quarter_offset as bigint) as quarter_number,
  cast(offsets.quarter_offset as int) as quarter_offset,
  cast(round(coalesce(from_open.open_expected, 0e0), 2) as double) as open_expected,
  cast(round(coalesce(from_new.new_expected, 0e0), 2) as double) as new_expected
from {{ days }} as days
inner join (
  select distinct as_of
  from {{ from_new }}
) as answered on days.as_of = answered.as_of
cross join (
  {%- for offset in range(5) %}
  {{ 'union all ' if not loop.first }}select {{ offset }} as quarter_offset
  {%- endfor %}
) as offsets
inner join (
  select
    evidence_on,
    sum(observed_wins) as wins
  from {{ calendar_index }}
  group by evidence_on
) as evidence
  on days.evidence_on = evidence.evidence_on
    and evidence.wins >= {{ fewest_wins() }}
inner join (
  select
    evidence_on,
    max(age_weeks) as weeks
  from {{ new_business }}
  group by evidence_on
) as followed
  on days.evidence_on = followed.evidence_on
    and followed.weeks >= 26
left join {{ from_open }} as from_open
  on days.as_of = from_open.as_of
    and offsets.quarter_offset = from_open.quarter_offset
left join {{ from_new }} as from_new
  on days.as_of = from_new.as_of
    and offsets.quarter_offset = from_new.quarter_offset
{%- endmacro %}

{% macro fewest_wins() -%}30{%- endmacro %}
