{# Where engines differ about nested JSON. #}

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
