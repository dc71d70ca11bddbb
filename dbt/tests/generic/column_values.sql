{# Fails for each column that is null where it must not be, or holds what it must not (`one_of`: column to its values; null is
   none of them). One test for all columns of a model: dbt's own of each column took a tenth of a night's CPU. #}
{% test column_values(model, never_null=[], one_of={}) %}
with counted as (
  select
    count(*) as all_rows
    {%- for column in never_null %},
    count({{ column }}) as known_{{ loop.index }}
    {%- endfor %}
    {%- for column, values in one_of.items() %},
    count(case
      when {{ column }} not in ({% for value in values %}{{ "'" ~ value ~ "'" if value is string else value }}{{ ", " if not loop.last }}{% endfor %}) then 1
    end) as other_{{ loop.index }}
    {%- endfor %}
  from {{ model }}
)

{% for column in never_null %}
select '{{ column }}' as column_name, 'is null' as problem, all_rows - known_{{ loop.index }} as rows_wrong
from counted
where all_rows > known_{{ loop.index }}
{{ "union all" if not loop.last or one_of }}
{%- endfor %}
{%- for column in one_of %}
select '{{ column }}' as column_name, 'has other values' as problem, other_{{ loop.index }} as rows_wrong
from counted
where other_{{ loop.index }} > 0
{{ "union all" if not loop.last }}
{%- endfor %}
{% endtest %}
