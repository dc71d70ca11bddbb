{# Tryton sends dates and instants as objects with a number for each part; these are the parts as text. #}
{% macro typed_parts(value) -%}
{{ json_struct(value, ['year', 'month', 'day', 'hour', 'minute', 'second', 'microsecond']) }}
{%- endmacro %}

{% macro typed_date(parts) -%}
{{ try_type("concat(" ~ parts ~ ".year, '-', lpad(" ~ parts ~ ".month, 2, '0'), '-', lpad(" ~ parts ~ ".day, 2, '0'))", 'date') }}
{%- endmacro %}

{% macro typed_instant(parts) -%}
{%- set text -%}
concat(
  {{ parts }}.year, '-', lpad({{ parts }}.month, 2, '0'), '-', lpad({{ parts }}.day, 2, '0'), ' ',
  lpad({{ parts }}.hour, 2, '0'), ':', lpad({{ parts }}.minute, 2, '0'), ':', lpad({{ parts }}.second, 2, '0'), '.',
  lpad({{ parts }}.microsecond, 6, '0')
)
{%- endset -%}
{{ try_type(text, 'timestamp') }}
{%- endmacro %}

{# Currency codes by id; a currency that is gone keeps its code. #}
{% macro tryton_currencies() -%}
select
  source_relation,
  record_id as currency_id,
  {{ last_value_by(json_at('payload', ['code']), ['extracted_at', 'batch_id'], 'true') }} as currency
from {{ source('landing_tryton', 'currencies') }}
group by source_relation, record_id
{%- endmacro %}
