{# What a learned hazard may look at: some open deals of each day with what was known of them then, and what became of them.
   Nothing reads a row that begins after its day, but for the last three columns: what became of the deal. #}

{# Of each day every 1st, 2nd, 4th … deal, so that no more than the given number are looked at. counted: as_of, open_deals. #}
{% macro sampled_days(days, counted, most_deals) -%}
select
  days.as_of,
  days.evidence_on,
  days.quarter_number,
  case
    {%- for power in range(14) %}
    when counted.open_deals <= {{ most_deals * 2 ** power }} then {{ 2 ** power }}
    {%- endfor %}
    else {{ 2 ** 14 }}
  end as every_nth
from {{ days }} as days
inner join {{ counted }} as counted on days.as_of = counted.as_of
{%- endmacro %}

{# Condition: a deal is one of those looked at. Its turn moves on by one each week, so that all deals are seen in time. #}
{% macro is_sampled(deal_number, week_number, every_nth) -%}
({{ deal_number }} % {{ every_nth }} + {{ week_number }}) % {{ every_nth }} = 0
{%- endmacro %}

{# Open deals per week's end, without reading the spans again. #}
{% macro open_deals_of_weeks(histogram) -%}
select
  origin as as_of,
  sum(deals) as open_deals
from {{ histogram }}
group by origin
{%- endmacro %}

{# Open deals at the end of other days. #}
{% macro open_deals_of_days(days, spans) -%}
select
  days.as_of,
  count(*) as open_deals
from {{ days }} as days
inner join {{ spans }} as spans
  on days.as_of >= spans.valid_from_date
    and (days.as_of < spans.valid_to_date or spans.valid_to_date is null)
group by days.as_of
{%- endmacro %}

{# The spans of the looked-at deals, cut to the day on which they are looked at: of many week's ends. A span of n weeks becomes
   n rows by equality: a join on a range of weeks compares every span with every week. #}
{% macro sampled_spans_of_weeks(sampled, spans, week_start) -%}
with weeks as (
  select
    *,
    {{ business_week('as_of', week_start) }} as week_number
  from {{ sampled }}
),

bounds as (
  select
    min(week_number) as first_week,
    max(week_number) as last_week
  from weeks
),

lengths as (
  select
    lengths.week_number - bounds.first_week + 1 as weeks_long,
    places.week_number - bounds.first_week as place
  from weeks as lengths
  cross join bounds
  inner join weeks as places on lengths.week_number >= places.week_number
),

placed as (
  select
    spans.*,
    greatest({{ business_week('spans.valid_from_date', week_start) }}, bounds.first_week) as begins_week,
    coalesce({{ business_week('spans.valid_to_date', week_start) }} - 1, bounds.last_week) as ends_week
  from {{ spans }} as spans
  cross join bounds
)

select
  weeks.as_of,
  {{ sampled_span_columns('placed') }}
from placed
inner join lengths on placed.ends_week - placed.begins_week + 1 = lengths.weeks_long
inner join weeks on placed.begins_week + lengths.place = weeks.week_number
where {{ is_sampled('placed.deal_number', 'weeks.week_number', 'weeks.every_nth') }}
{%- endmacro %}

{# The same of a few other days. #}
{% macro sampled_spans_of_days(sampled, spans, week_start) -%}
select
  days.as_of,
  {{ sampled_span_columns('spans') }}
from {{ sampled }} as days
inner join {{ spans }} as spans
  on days.as_of >= spans.valid_from_date
    and (days.as_of < spans.valid_to_date or spans.valid_to_date is null)
where {{ is_sampled('spans.deal_number', business_week('days.as_of', week_start), 'days.every_nth') }}
{%- endmacro %}

{% macro sampled_span_columns(spans) -%}
{{ spans }}.deal_number,
  {{ spans }}.version_number,
  {{ spans }}.stage_key,
  {{ spans }}.entered_on,
  {{ spans }}.is_entry_unknown,
  {{ spans }}.arrived_on,
  {{ spans }}.open_amount,
  {{ spans }}.closed_on,
  {{ spans }}.outcome
{%- endmacro %}

{# The state of each version and what had changed up to it. A value without a history of its own is left out. #}
{% macro version_features(versions) -%}
with compared as (
  select
    deal_key,
    version_number,
    pipeline_key,
    owner_key,
    forecast_category,
    probability,
    case when close_date_asof_quality = 'history' then close_date end as close_date,
    case when close_date_asof_quality = 'history' then push_count_so_far end as pushes,
    case when amount_asof_quality = 'history' then amount_native end as amount,
    lag(case when amount_asof_quality = 'history' then amount_native end) over deal_line as amount_before
  from {{ versions }}
  window deal_line as (partition by deal_key order by version_number)
)

select
  {{ number_of_key('deal_key') }} as deal_number,
  version_number,
  pipeline_key,
  owner_key,
  forecast_category,
  probability,
  close_date,
  pushes,
  sum(case when amount <> amount_before then 1 else 0 end) over (
    partition by deal_key order by version_number rows between unbounded preceding and current row
  ) as amount_changes
from compared
{%- endmacro %}

{# Days on which each move of a deal is its newest, with what had happened up to it. #}
{% macro move_features(transitions) -%}
select
  {{ number_of_key('deal_key') }} as deal_number,
  business_date as from_date,
  lead(business_date) over deal_line as to_date,
  to_rank as stage_rank,
  visit_number,
  sum(stages_skipped) over (
    partition by deal_key order by transition_number rows between unbounded preceding and current row
  ) as stages_skipped
from {{ transitions }}
window deal_line as (partition by deal_key order by transition_number)
{%- endmacro %}

{# One row per looked-at deal and day. seen: sampled spans; deals: open_deals_on of them; curves: chances of their cells. #}
{% macro challenger_features(seen, sampled, deals, curves, versions, moves, amounts, dates) -%}
select
  seen.as_of,
  sampled.quarter_number,
  cast(sampled.every_nth as int) as every_nth,
  dates.day_of_quarter,
  seen.deal_number,
  seen.stage_key,
  versions.pipeline_key,
  versions.owner_key,
  versions.forecast_category,
  versions.probability,
  case when deals.weeks_in_stage >= 0 then deals.weeks_in_stage end as weeks_in_stage,
  {{ days_between('seen.arrived_on', 'seen.as_of') }} as days_open,
  cast(seen.open_amount as double) as amount,
  deals.amount_tier,
  versions.close_date,
  versions.pushes,
  versions.amount_changes,
  moves.stage_rank,
  moves.visit_number,
  moves.stages_skipped,
  {%- for offset in range(5) %}
  round(curves.p_win_{{ offset }}, 9) as p_win_{{ offset }},
  {%- endfor %}
  case
    when seen.open_amount is not null then cast(seen.open_amount as double) * coalesce(of_stage.price_factor, of_all.price_factor)
    else coalesce(of_all.average_won_amount, 0e0)
  end as amount_if_won,
  seen.closed_on,
  seen.outcome
from {{ seen }} as seen
inner join {{ sampled }} as sampled on seen.as_of = sampled.as_of
inner join {{ dates }} as dates on seen.as_of = dates.date_day
inner join {{ deals }} as deals
  on seen.as_of = deals.as_of
    and seen.deal_number = deals.deal_number
inner join {{ curves }} as curves
  on seen.as_of = curves.as_of
    and deals.stage_key = curves.stage_key
    and deals.time_bin = curves.time_bin
    and deals.amount_tier = curves.amount_tier
inner join {{ amounts }} as of_all
  on sampled.evidence_on = of_all.evidence_on
    and of_all.stage_key = '(all)'
left join {{ amounts }} as of_stage
  on sampled.evidence_on = of_stage.evidence_on
    and seen.stage_key = of_stage.stage_key
left join {{ versions }} as versions
  on seen.deal_number = versions.deal_number
    and seen.version_number = versions.version_number
left join {{ moves }} as moves
  on seen.deal_number = moves.deal_number
    and seen.as_of >= moves.from_date
    and (seen.as_of < moves.to_date or moves.to_date is null)
{%- endmacro %}

{# Deals that closed, by the owner who had them open last: what a record of earlier outcomes is made of. #}
{% macro closings_of_owners(spans, versions) -%}
select
  versions.owner_key,
  spans.closed_on,
  sum(case when spans.outcome = 'won' then 1 else 0 end) as won,
  count(*) as closed
from {{ spans }} as spans
inner join {{ versions }} as versions
  on spans.deal_number = versions.deal_number
    and spans.version_number = versions.version_number
where spans.valid_to_date = spans.closed_on
group by versions.owner_key, spans.closed_on
{%- endmacro %}
