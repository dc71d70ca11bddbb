{# What the tables and views for point-and-click BI share. #}

{# One number for each stage label, to sort it by: its place in the pipeline, then won, lost and other ends. A tool that
   sorts one column by another wants one number for a label, so a label used in several pipelines has its first place. #}
{% macro stage_sorts() -%}
select
  stage,
  cast(min(case
    when outcome = 'open' then coalesce(stage_order, 900)
    when outcome = 'won' then 901
    when outcome = 'lost' then 902
    else 903
  end) as int) as stage_sort
from {{ ref('dim_stage') }}
group by stage
{%- endmacro %}

{# The place of a value in a list, from 1; values that are not in it come last. #}
{% macro sort_of(value, members) -%}
case {{ value }}
  {%- for member in members %}
  when '{{ member }}' then {{ loop.index }}
  {%- endfor %}
  else {{ members | length + 1 }}
end
{%- endmacro %}
