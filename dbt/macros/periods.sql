{# Is a period told whole? left_truncated: it starts before the source's history is complete; partial: it is not over at
   as_of, or it is the whole history, which has such a beginning; full: neither. #}
{% macro history_status(period_type, period_start, period_end, full_from, as_of) -%}
case
  when {{ period_type }} = 'all' and {{ period_start }} < {{ full_from }} then 'partial'
  when {{ period_start }} < {{ full_from }} then 'left_truncated'
  when {{ period_end }} > {{ as_of }} then 'partial'
  else 'full'
end
{%- endmacro %}

{# Label of the period of a type (month, quarter, year, all) in a row of dim_date. #}
{% macro period_label(period_type, calendar) -%}
{% if period_type == 'all' %}'all'{% else %}{{ calendar }}.{{ period_type }}_label{% endif %}
{%- endmacro %}
