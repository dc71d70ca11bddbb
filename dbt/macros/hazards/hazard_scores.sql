{# From evidence to answers about days. The relations that a macro takes are names of tables or of CTEs. #}

{# One row per day asked about: as_of, evidence_on, quarter_number. #}
{% macro days_asked(dates, condition) -%}
select
  asked.date_day as as_of,
  {{ evidence_day('asked') }} as evidence_on,
  asked.quarter_index as quarter_number
from {{ dates }} as asked
where {{ condition }}
{%- endmacro %}

{# How much of a week's hazard falls on each step and quarter after a day. A quarter's end inside a step cuts it by
   business days; wins follow the index of the weeks of the quarter. Offset 5 is whatever comes after the fourth. #}
{% macro hazard_exposures(days, dates, calendar_index) -%}
with steps as (
  {{ hazard_steps() }}
),

ahead as (
  select
    days.as_of,
    cast(floor(({{ days_between('days.as_of', 'dates.date_day') }} - 1) / 7.0e0) as int) + 1 as week_ahead,
    least(dates.quarter_index - days.quarter_number, 5) as quarter_offset,
    case when dates.is_business_day then 1e0 else 0e0 end as business_day,
    coalesce(calendar_index.win_index, 1e0) as win_index
  from {{ days }} as days
  inner join {{ dates }} as dates
    on days.as_of < dates.date_day
      and dates.date_day <= {{ add_days('days.as_of', '7 * ' ~ last_step_week()) }}
  left join {{ calendar_index }} as calendar_index
    on days.evidence_on = calendar_index.evidence_on
      and {{ week_of_quarter('dates.day_of_quarter') }} = calendar_index.week_of_quarter
),

pace as (
  select
    as_of,
    7e0 * sum(business_day) / count(*) as business_days_a_week
  from ahead
  group by as_of
)

select
  ahead.as_of,
  steps.step_number,
  ahead.week_ahead,
  ahead.quarter_offset,
  sum(ahead.business_day * ahead.win_index) / max(pace.business_days_a_week * (steps.to_week - steps.from_week)) as win_exposure,
  sum(ahead.business_day) / max(pace.business_days_a_week * (steps.to_week - steps.from_week)) as plain_exposure,
  sum(ahead.business_day) as business_days
from ahead
inner join steps
  on ahead.week_ahead > steps.from_week
    and ahead.week_ahead <= steps.to_week
inner join pace on ahead.as_of = pace.as_of
group by ahead.as_of, steps.step_number, ahead.week_ahead, ahead.quarter_offset
{%- endmacro %}

{# Cumulative incidence of winning (Aalen and Johansen: losing competes) for cells of the open book; the product of
   what stays open is exp(sum(ln)). One row per day and cell: p_<series>_<offset> = P(won by the end of that quarter),
   p_<series>_ever = within 105 weeks, p_win_week = within the first. Series: win, and for reasons each level without the calendar. #}
{% macro win_curves(days, exposures, cells, hazards, with_reasons=false) -%}
{%- set series = ['win'] + (['overall', 'stage', 'time', 'tier'] if with_reasons else []) %}
with exposed as (
  select
    as_of,
    step_number,
    quarter_offset,
    sum(win_exposure) as win_exposure,
    sum(plain_exposure) as plain_exposure
  from {{ exposures }}
  group by as_of, step_number, quarter_offset
),

chained as (
  select
    cells.as_of,
    cells.stage_key,
    cells.time_bin,
    cells.amount_tier,
    exposed.step_number,
    exposed.quarter_offset,
    exposed.win_exposure,
    exposed.plain_exposure,
    overall.win_hazard as win_overall,
    overall.loss_hazard as loss_overall,
    coalesce(of_stage.win_hazard, overall.win_hazard) as win_stage,
    coalesce(of_stage.loss_hazard, overall.loss_hazard) as loss_stage,
    coalesce(of_time.win_hazard, of_stage.win_hazard, overall.win_hazard) as win_time,
    coalesce(of_time.loss_hazard, of_stage.loss_hazard, overall.loss_hazard) as loss_time,
    coalesce(of_tier.win_hazard, of_time.win_hazard, of_stage.win_hazard, overall.win_hazard) as win_tier,
    coalesce(of_tier.loss_hazard, of_time.loss_hazard, of_stage.loss_hazard, overall.loss_hazard) as loss_tier
  from {{ cells }} as cells
  inner join {{ days }} as days on cells.as_of = days.as_of
  inner join exposed on cells.as_of = exposed.as_of
  inner join {{ hazards }} as overall
    on days.evidence_on = overall.evidence_on
      and exposed.step_number = overall.step_number
      and overall.cell_level = 'overall'
  left join {{ hazards }} as of_stage
    on days.evidence_on = of_stage.evidence_on
      and exposed.step_number = of_stage.step_number
      and cells.stage_key = of_stage.stage_key
      and of_stage.cell_level = 'stage'
  left join {{ hazards }} as of_time
    on days.evidence_on = of_time.evidence_on
      and exposed.step_number = of_time.step_number
      and cells.stage_key = of_time.stage_key
      and cells.time_bin = of_time.time_bin
      and of_time.cell_level = 'time'
  left join {{ hazards }} as of_tier
    on days.evidence_on = of_tier.evidence_on
      and exposed.step_number = of_tier.step_number
      and cells.stage_key = of_tier.stage_key
      and cells.time_bin = of_tier.time_bin
      and cells.amount_tier = of_tier.amount_tier
      and of_tier.cell_level = 'tier'
),

-- a step's chances: never more than all of what is open
chances as (
  select
    *,
    least(win_tier * win_exposure, 0.9e0) as step_win_win,
    least(loss_tier * plain_exposure, 0.95e0 - least(win_tier * win_exposure, 0.9e0)) as step_loss_win
    {%- for level in series if level != 'win' %},
    least(win_{{ level }} * plain_exposure, 0.9e0) as step_win_{{ level }},
    least(loss_{{ level }} * plain_exposure, 0.95e0 - least(win_{{ level }} * plain_exposure, 0.9e0)) as step_loss_{{ level }}
    {%- endfor %}
  from chained
),

won as (
  select
    as_of,
    stage_key,
    time_bin,
    amount_tier,
    step_number,
    quarter_offset
    {%- for level in series %},
    step_win_{{ level }} * exp(coalesce(sum(ln(1e0 - step_win_{{ level }} - step_loss_{{ level }})) over before, 0e0)) as won_{{ level }}
    {%- endfor %}
  from chances
  window before as (
    partition by as_of, stage_key, time_bin, amount_tier
    order by step_number, quarter_offset
    rows between unbounded preceding and 1 preceding
  )
)

select
  as_of,
  stage_key,
  time_bin,
  amount_tier
  {%- for level in series %}
  {%- for offset in range(5) %},
  sum(case when quarter_offset <= {{ offset }} then won_{{ level }} else 0e0 end) as p_{{ level }}_{{ offset }}
  {%- endfor %},
  sum(won_{{ level }}) as p_{{ level }}_ever
  {%- endfor %},
  sum(case when step_number = 1 then won_win else 0e0 end) as p_win_week
from won
group by as_of, stage_key, time_bin, amount_tier
{%- endmacro %}

{# Weeks in stage at which each bin of a stage begins and the next one does, as of each month's end. #}
{% macro time_bins(hazards) -%}
select
  evidence_on,
  stage_key,
  time_bin,
  from_week_in_stage,
  deals_entering,
  lead(from_week_in_stage) over (partition by evidence_on, stage_key order by time_bin) as next_from_week
from {{ hazards }}
where cell_level = 'time'
  and step_number = 1
{%- endmacro %}

{# Condition: the bin of a deal. A deal with an unknown entry stands in bin -1. #}
{% macro in_time_bin(weeks, bins) -%}
{{ weeks }} >= {{ bins }}.from_week_in_stage and ({{ bins }}.next_from_week is null or {{ weeks }} < {{ bins }}.next_from_week)
{%- endmacro %}

{# The open deals at the end of each day asked about, with the cell of each. #}
{% macro open_deals_on(days, spans, tiers, hazards) -%}
with bins as (
  {{ time_bins(hazards) }}
),

placed as (
  select
    days.as_of,
    days.evidence_on,
    spans.deal_number,
    spans.stage_key,
    spans.open_amount,
    {{ amount_tier('spans.open_amount', 'tiers') }} as amount_tier,
    case
      when spans.is_entry_unknown then -1
      else cast(floor({{ days_between('spans.entered_on', 'days.as_of') }} / 7.0e0) as int)
    end as weeks_in_stage
  from {{ days }} as days
  inner join {{ spans }} as spans
    on days.as_of >= spans.valid_from_date
      and (days.as_of < spans.valid_to_date or spans.valid_to_date is null)
  left join {{ tiers }} as tiers on days.evidence_on = tiers.evidence_on
)

select
  placed.as_of,
  placed.evidence_on,
  placed.deal_number,
  placed.stage_key,
  placed.weeks_in_stage,
  coalesce(bins.time_bin, case when placed.weeks_in_stage < 0 then -1 else 0 end) as time_bin,
  placed.amount_tier,
  placed.open_amount
from placed
left join bins
  on placed.evidence_on = bins.evidence_on
    and placed.stage_key = bins.stage_key
    and {{ in_time_bin('placed.weeks_in_stage', 'bins') }}
{%- endmacro %}

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

{# Every open deal of the days asked about: chance and expected amount, and the chain of factors behind the chance of
   the quarter's end: overall × stage × time in stage × size × calendar, each with the number of deals that it rests on. Fewer
   than 30 wins tell no chance: then there is no row.
   deals: open_deals_on; curves: win_curves with reasons. #}
{% macro deal_scores(deals, curves, hazards, amounts, calendar_index) -%}
with behind as (
  select
    evidence_on,
    cell_level,
    stage_key,
    time_bin,
    amount_tier,
    deals_entering
  from {{ hazards }}
  where step_number = 1
),

priced as (
  select
    deals.*,
    case
      when deals.open_amount is not null then cast(deals.open_amount as double) * coalesce(of_stage.price_factor, of_all.price_factor)
      else of_all.average_won_amount
    end as amount_if_won
  from {{ deals }} as deals
  inner join {{ amounts }} as of_all
    on deals.evidence_on = of_all.evidence_on
      and of_all.stage_key = '(all)'
  left join {{ amounts }} as of_stage
    on deals.evidence_on = of_stage.evidence_on
      and deals.stage_key = of_stage.stage_key
),

wins as (
  select
    evidence_on,
    sum(observed_wins) as wins
  from {{ calendar_index }}
  group by evidence_on
)

select
  priced.as_of,
  priced.evidence_on,
  priced.deal_number,
  priced.stage_key,
  priced.weeks_in_stage,
  priced.amount_tier,
  priced.open_amount,
  priced.amount_if_won,
  curves.p_win_0 as p_win_this_quarter,
  curves.p_win_1 as p_win_by_next_quarter,
  curves.p_win_ever,
  curves.p_win_0 * priced.amount_if_won as expected_this_quarter,
  (curves.p_win_1 - curves.p_win_0) * priced.amount_if_won as expected_next_quarter,
  curves.p_win_ever * priced.amount_if_won as expected_ever,
  curves.p_overall_0 as p_overall,
  {{ factor('curves.p_stage_0', 'curves.p_overall_0') }} as factor_stage,
  {{ factor('curves.p_time_0', 'curves.p_stage_0') }} as factor_time,
  {{ factor('curves.p_tier_0', 'curves.p_time_0') }} as factor_size,
  {{ factor('curves.p_win_0', 'curves.p_tier_0') }} as factor_calendar,
  overall.deals_entering as deals_overall,
  coalesce(of_stage.deals_entering, 0) as deals_stage,
  coalesce(of_time.deals_entering, 0) as deals_time,
  coalesce(of_tier.deals_entering, 0) as n_similar_deals,
  wins.wins as wins_calendar
from priced
inner join {{ curves }} as curves
  on priced.as_of = curves.as_of
    and priced.stage_key = curves.stage_key
    and priced.time_bin = curves.time_bin
    and priced.amount_tier = curves.amount_tier
inner join behind as overall
  on priced.evidence_on = overall.evidence_on
    and overall.cell_level = 'overall'
left join behind as of_stage
  on priced.evidence_on = of_stage.evidence_on
    and priced.stage_key = of_stage.stage_key
    and of_stage.cell_level = 'stage'
left join behind as of_time
  on priced.evidence_on = of_time.evidence_on
    and priced.stage_key = of_time.stage_key
    and priced.time_bin = of_time.time_bin
    and of_time.cell_level = 'time'
left join behind as of_tier
  on priced.evidence_on = of_tier.evidence_on
    and priced.stage_key = of_tier.stage_key
    and priced.time_bin = of_tier.time_bin
    and priced.amount_tier = of_tier.amount_tier
    and of_tier.cell_level = 'tier'
inner join wins
  on priced.evidence_on = wins.evidence_on
    and wins.wins >= {{ fewest_wins() }}
{%- endmacro %}

{# What a level adds to the chance; 1 where there is nothing to multiply, as on a quarter's last day. #}
{% macro factor(finer, coarser) -%}
case when {{ coarser }} > 0 then {{ finer }} / {{ coarser }} else 1e0 end
{%- endmacro %}

{# The open deals by cell. #}
{% macro book_of_cells(deals) -%}
select
  as_of,
  evidence_on,
  stage_key,
  time_bin,
  amount_tier,
  count(*) as deals,
  count(open_amount) as priced_deals,
  coalesce(sum(open_amount), 0) as open_amount
from {{ deals }}
group by as_of, evidence_on, stage_key, time_bin, amount_tier
{%- endmacro %}
