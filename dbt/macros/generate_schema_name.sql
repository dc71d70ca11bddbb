{# The folder of a layer is the schema of a layer: staging, ledger, marts, forecast. The published file has one. #}
{% macro generate_schema_name(custom_schema_name, node) -%}
  {%- if target.name == 'published' -%}
    {{ target.schema }}
  {%- else -%}
    {{ (custom_schema_name or target.schema) | trim }}
  {%- endif -%}
{%- endmacro %}
