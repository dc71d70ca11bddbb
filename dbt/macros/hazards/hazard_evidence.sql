{# Which evidence a day may use: the newest month that has ended by the end of that day. Months are those of the calendar
   table; evidence that changes monthly keeps the changes of a forecast from day to day those of its deals. #}
{% macro evidence_day(dates) -%}
case
  when {{ dates }}.date_day = {{ dates }}.month_end_on then {{ dates }}.date_day
  else {{ add_days(dates ~ '.month_start_on', -1) }}
end
{%- endmacro %}

{# 0 without an amount, else 1 to 4: the lower half of the book, the next quarter, to nine in ten, the largest tenth. #}
{% macro amount_tier(amount, tiers) -%}
case
  when {{ amount }} is null then 0
  when {{ amount }} > {{ tiers }}.largest_from then 4
  when {{ amount }} > {{ tiers }}.large_from then 3
  when {{ amount }} > {{ tiers }}.middle_from then 2
  else 1
end
{%- endmacro %}

{# CTEs <level>_parent, <level>_pooled, <level>_own and <level>_hazards from <level>_rows: the hazards of a finer level.
   What a level adds is a ratio to the coarser hazard. It is estimated over a few steps at once, first for its value in
   all stages (pooled_by), then for its own (own_by), each with the weight of a few expected outcomes; the cell's own
   counts at a step then speak against the coarser hazard times that ratio with the weight of prior_deals. #}
{% macro finer_hazards(level, keys, coarser, coarser_keys, pooled_by, own_by) -%}
{%- set some_outcomes = '10e0' -%}
{{ level }}_parent as (
  select
    finer.*,
    coarser.win_hazard as coarser_win,
    coarser.loss_hazard as coarser_loss,
    case when finer.step_number <= 4 then 1 when finer.step_number <= 13 then 2 else 3 end as step_group
  from {{ level }}_rows as finer
  inner join {{ coarser }} as coarser
    on finer.evidence_on = coarser.evidence_on
      and finer.step_number = coarser.step_number
      {%- for key in coarser_keys %}
      and finer.{{ key }} = coarser.{{ key }}
      {%- endfor %}
),

{{ level }}_pooled as (
  select
    evidence_on,
    step_group,
    {%- for key in pooled_by %}
    {{ key }},
    {%- endfor %}
    {%- for outcome, hazard in [('won', 'win'), ('lost', 'loss')] %}
    (sum({{ outcome }}) + {{ some_outcomes }}) / (sum(at_risk * coarser_{{ hazard }}) + {{ some_outcomes }}) as {{ hazard }}_ratio{{ ',' if not loop.last }}
    {%- endfor %}
  from {{ level }}_parent
  group by {{ (['evidence_on', 'step_group'] + pooled_by) | join(', ') }}
),

{{ level }}_own as (
  select
    own.evidence_on,
    own.step_group,
    {%- for key in own_by %}
    own.{{ key }},
    {%- endfor %}
    {%- for outcome, hazard in [('won', 'win'), ('lost', 'loss')] %}
    (sum(own.{{ outcome }}) + {{ some_outcomes }} * max(pooled.{{ hazard }}_ratio))
    / (sum(own.at_risk * own.coarser_{{ hazard }}) + {{ some_outcomes }}) as {{ hazard }}_ratio{{ ',' if not loop.last }}
    {%- endfor %}
  from {{ level }}_parent as own
  inner join {{ level }}_pooled as pooled
    on own.evidence_on = pooled.evidence_on
      and own.step_group = pooled.step_group
      {%- for key in pooled_by %}
      and own.{{ key }} = pooled.{{ key }}
      {%- endfor %}
  group by own.evidence_on, own.step_group{% for key in own_by %}, own.{{ key }}{% endfor %}
),

{{ level }}_hazards as (
  select
    cells.*,
    {%- for outcome, hazard in [('won', 'win'), ('lost', 'loss')] %}
    (cells.{{ outcome }} + {{ prior_deals() }} * least(cells.coarser_{{ hazard }} * own.{{ hazard }}_ratio, 0.9e0))
    / (cells.at_risk + {{ prior_deals() }}) as {{ hazard }}_hazard{{ ',' if not loop.last }}
    {%- endfor %}
  from {{ level }}_parent as cells
  inner join {{ level }}_own as own
    on cells.evidence_on = own.evidence_on
      and cells.step_group = own.step_group
      {%- for key in own_by %}
      and cells.{{ key }} = own.{{ key }}
      {%- endfor %}
)
{%- endmacro %}
