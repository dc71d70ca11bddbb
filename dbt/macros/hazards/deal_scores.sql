{# The open deals of a day: the cell of each, and its chance with the reasons. #}

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
    spans.version_number,
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
  placed.version_number,
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
  priced.version_number,
  priced.stage_key,
  priced.weeks_in_stage,
  priced.time_bin,
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
