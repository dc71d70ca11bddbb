{# Is a period told whole? left_truncated: it starts before the source's history is complete; partial: it is the whole
   history, and that has such a beginning; full: neither. Whether the period is over says is_complete_period. #}
{% macro history_status(period_type, period_start, full_from) -%}
case
  when {{ period_start }} >= {{ full_from }} then 'full'
  when {{ period_type }} = 'all' then 'partial'
  else 'left_truncated'
end
{%- endmacro %}

{# Label of the period of a type (month, quarter, year, all) in a row of dim_date. #}
{% macro period_label(period_type, calendar) -%}
{% if period_type == 'all' %}'all'{% else %}{{ calendar }}.{{ period_type }}_label{% endif %}
{%- endmacro %}

{# The rows of a relation once in each type of period that their day lies in; `calendar` is dim_date. #}
{% macro in_each_period(relation, day, period_types) -%}
  {%- for period_type in period_types %}
  select
    '{{ period_type }}' as period_type,
    {{ period_label(period_type, 'calendar') }} as period,
    dated_rows.*
  from {{ relation }} as dated_rows
  inner join {{ ref('dim_date') }} as calendar on dated_rows.{{ day }} = calendar.date_day
  {%- if not loop.last %}
  union all
  {%- endif %}
  {%- endfor %}
{%- endmacro %}
