{# The value at the end of a way through nested JSON, as text; a step is a key (whatever its letters) or a place. #}
{% macro json_at(payload, steps) -%}{{ adapter.dispatch('json_at')(payload, steps) }}{%- endmacro %}
{% macro duckdb__json_at(payload, steps) -%}
json_extract_string({{ payload }}, '${% for step in steps %}{% if step is number %}[{{ step }}]{% else %}."{{ step }}"{% endif %}{% endfor %}')
{%- endmacro %}
{% macro spark__json_at(payload, steps) -%}
get_json_object({{ payload }}, '${% for step in steps %}{% if step is number %}[{{ step }}]{% else %}[''{{ step }}'']{% endif %}{% endfor %}')
{%- endmacro %}
