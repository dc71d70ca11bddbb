{# The grid on which hazards are counted: weeks, weeks in stage, size of the deal, steps into the future. #}

{# Number of the business week that a day belongs to; day base + 7 n is the last of week n. Weeks start on week_start. #}
{% macro business_week(day, week_start) -%}
cast(floor((
  {{ days_between("date '1970-01-04'", day) }} - {{ week_start }} + 7
) / 7.0e0) as int)
{%- endmacro %}

{# The last day of a business week. #}
{% macro week_end(week, week_start) -%}
{{ add_days("date '1970-01-04'", '7 * ' ~ week ~ ' + ' ~ week_start ~ ' - 1') }}
{%- endmacro %}

{# The last business week that is over at the end of a day. #}
{% macro last_whole_week(day, week_start) -%}
{{ business_week(add_days(day, 1), week_start) }} - 1
{%- endmacro %}

{# Full weeks in a stage, in classes that add up to any coarser ones; the value is the first week of the class. #}
{% macro weeks_class(weeks) -%}
case
  when {{ weeks }} < 6 then {{ weeks }}
  {%- for first, after in [(6, 8), (8, 10), (10, 13), (13, 17), (17, 22), (22, 27), (27, 40), (40, 53), (53, 79)] %}
  when {{ weeks }} < {{ after }} then {{ first }}
  {%- endfor %}
  else 79
end
{%- endmacro %}

{# Weight of the coarser hazard in a finer one, in deals: a cell with few deals says little by itself. #}
{% macro prior_deals() -%}40e0{%- endmacro %}

{# Steps into the future: weeks up to half a year, then four weeks, then quarters; step covers (from_week, to_week]. #}
{% macro hazard_steps() -%}
{%- set steps = [] -%}
{%- for week in range(26) -%}{%- do steps.append((week, week + 1)) -%}{%- endfor -%}
{%- for place in range(10) -%}{%- do steps.append((26 + 4 * place, 30 + 4 * place)) -%}{%- endfor -%}
{%- for place in range(3) -%}{%- do steps.append((66 + 13 * place, 79 + 13 * place)) -%}{%- endfor -%}
{%- for first, last in steps -%}
{{ 'select' if loop.first else 'union all select' }} {{ loop.index }} as step_number, {{ first }} as from_week, {{ last }} as to_week
{% endfor -%}
{%- endmacro %}

{% macro last_step_week() -%}105{%- endmacro %}

{# Week of the fiscal quarter, 1 to 14, in sevens from its first day. #}
{% macro week_of_quarter(day_of_quarter) -%}
cast(floor(({{ day_of_quarter }} - 1) / 7.0e0) as int) + 1
{%- endmacro %}
