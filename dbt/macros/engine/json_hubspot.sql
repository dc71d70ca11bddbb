{# Where engines differ about nested JSON. A shape is written as it looks: a mapping is an object, {'*': shape} an
   object with any keys, a list of one shape an array, anything else text. What is missing or not so is null. #}
{% macro json_shape(payload, shape) -%}{{ adapter.dispatch('json_shape')(payload, shape) }}{%- endmacro %}
{% macro duckdb__json_shape(payload, shape) -%}from_json({{ payload }}, '"{{ duckdb_shape(shape) }}"'){%- endmacro %}
{% macro spark__json_shape(payload, shape) -%}from_json({{ payload }}, '{{ spark_shape(shape) }}'){%- endmacro %}

{% macro duckdb_shape(shape) -%}
{%- if shape is mapping and '*' in shape -%}MAP(VARCHAR, {{ duckdb_shape(shape['*']) }})
{%- elif shape is mapping -%}STRUCT({% for name, part in shape.items() %}\"{{ name }}\" {{ duckdb_shape(part) }}{{ ', ' if not loop.last }}{% endfor %})
{%- elif shape is sequence and shape is not string -%}{{ duckdb_shape(shape[0]) }}[]
{%- else -%}VARCHAR{%- endif -%}
{%- endmacro %}

{% macro spark_shape(shape) -%}
{%- if shape is mapping and '*' in shape -%}map<string, {{ spark_shape(shape['*']) }}>
{%- elif shape is mapping -%}struct<{% for name, part in shape.items() %}`{{ name }}`: {{ spark_shape(part) }}{{ ', ' if not loop.last }}{% endfor %}>
{%- elif shape is sequence and shape is not string -%}array<{{ spark_shape(shape[0]) }}>
{%- else -%}string{%- endif -%}
{%- endmacro %}

{# One row per element of an array: the columns, the element as `item`, its place from 1 as item_number. #}
{% macro each_item(relation, columns, list) -%}{{ adapter.dispatch('each_item')(relation, columns, list) }}{%- endmacro %}
{% macro duckdb__each_item(relation, columns, list) -%}
select {{ columns | join(', ') }}, unnest({{ list }}) as item, generate_subscripts({{ list }}, 1) as item_number
from {{ relation }}
{%- endmacro %}
{% macro spark__each_item(relation, columns, list) -%}
select {{ columns | join(', ') }}, item, item_index + 1 as item_number
from {{ relation }} lateral view posexplode({{ list }}) as item_index, item
{%- endmacro %}

{# One row per entry of an object with any keys: the columns, entry_key and entry_value. #}
{% macro each_entry(relation, columns, entries) -%}{{ adapter.dispatch('each_entry')(relation, columns, entries) }}{%- endmacro %}
{% macro duckdb__each_entry(relation, columns, entries) -%}
select {{ columns | join(', ') }}, unnest(map_keys({{ entries }})) as entry_key, unnest(map_values({{ entries }})) as entry_value
from {{ relation }}
{%- endmacro %}
{% macro spark__each_entry(relation, columns, entries) -%}
select {{ columns | join(', ') }}, entry_key, entry_value
from {{ relation }} lateral view explode({{ entries }}) as entry_key, entry_value
{%- endmacro %}

{# An instant from text: ISO 8601 in UTC, or milliseconds since 1970. #}
{% macro told_instant(value) -%}{{ adapter.dispatch('told_instant')(value) }}{%- endmacro %}
{% macro duckdb__told_instant(value) -%}coalesce(try_cast({{ value }} as timestamp), epoch_ms(try_cast({{ value }} as bigint))){%- endmacro %}
{% macro spark__told_instant(value) -%}coalesce(try_cast({{ value }} as timestamp), timestamp_millis(try_cast({{ value }} as bigint))){%- endmacro %}

{# The day of a close date. Midnight UTC is a date as such; any other instant means the business day it falls on. #}
{% macro told_date(instant, time_zone) -%}
case
  when {{ instant }} = cast(cast({{ instant }} as date) as timestamp) then cast({{ instant }} as date)
  else {{ business_date(instant, time_zone) }}
end
{%- endmacro %}
