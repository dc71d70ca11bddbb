{# One row per source that names own properties: a column per field of a deal, with the property that feeds it. #}
{% macro own_properties() -%}
select
  source_relation,
  {%- for field in ['amount', 'region', 'country', 'product', 'source', 'deal_type', 'forecast_category', 'lost_reason', 'competitor', 'next_step'] %}
  max(case when field = '{{ field }}' then property end) as {{ field }}{{ ',' if not loop.last }}
  {%- endfor %}
from {{ ref('stg_own_fields') }}
group by source_relation
{%- endmacro %}

{# The value of the property that feeds a field (`own` is a row of own_properties); where none does, the default. #}
{% macro own_or(field, object_text, default) -%}
case when own.{{ field }} is not null then nullif({{ json_member(object_text, 'own.' ~ field) }}, '') else {{ default }} end
{%- endmacro %}
