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

{# In a select list: one row per element of a JSON array, as a struct of text fields; none for null. #}
{% macro json_items(array_text, fields) -%}{{ adapter.dispatch('json_items')(array_text, fields) }}{%- endmacro %}
{% macro duckdb__json_items(array_text, fields) -%}
unnest(from_json({{ array_text }}, '[{ {%- for field in fields %}"{{ field }}":"VARCHAR"{{ "," if not loop.last }}{% endfor -%} }]'))
{%- endmacro %}
{% macro spark__json_items(array_text, fields) -%}
explode(from_json({{ array_text }}, 'array<struct<{% for field in fields %}`{{ field }}`: string{{ ", " if not loop.last }}{% endfor %}>>'))
{%- endmacro %}

{# The member of a JSON object whose name is an expression, as text; lists and objects keep their JSON. #}
{% macro json_member(object_text, name) -%}{{ adapter.dispatch('json_member')(object_text, name) }}{%- endmacro %}
{% macro duckdb__json_member(object_text, name) -%}json_extract_string({{ object_text }}, concat('$."', {{ name }}, '"')){%- endmacro %}
{% macro spark__json_member(object_text, name) -%}get_json_object({{ object_text }}, concat('$[''', {{ name }}, ''']')){%- endmacro %}

{# The value at the end of a way through nested JSON, as text; a step is a key (whatever its letters) or a place. #}
{% macro json_at(payload, steps) -%}{{ adapter.dispatch('json_at')(payload, steps) }}{%- endmacro %}
{% macro duckdb__json_at(payload, steps) -%}
json_extract_string({{ payload }}, '${% for step in steps %}{% if step is number %}[{{ step }}]{% else %}."{{ step }}"{% endif %}{% endfor %}')
{%- endmacro %}
{% macro spark__json_at(payload, steps) -%}
get_json_object({{ payload }}, '${% for step in steps %}{% if step is number %}[{{ step }}]{% else %}[''{{ step }}'']{% endif %}{% endfor %}')
{%- endmacro %}

{# The text of a number at the top of a JSON object, with every digit it was sent with: parsers of JSON keep about 16.
   The key stands in quotes that no text value can hold unescaped. #}
{% macro json_number_text(payload, key) -%}
nullif(regexp_extract({{ payload }}, '"{{ key }}"[ ]*:[ ]*"?(-?[0-9][0-9.eE+-]*)', 1), '')
{%- endmacro %}
