{# The rows of an entity that CRMs deliver over their interfaces, to stand under those from files.
   STAGELEDGER_SOURCE_TYPES names the types of all sources with commas between them. Each vendor's folder has one
   model per entity, <vendor>_<entity>, with these columns. #}
{% macro union_vendors(entity, columns) -%}
{%- for vendor in env_var('STAGELEDGER_SOURCE_TYPES', 'files').split(',') if vendor != 'files' %}
  union all
  select
    {{ columns | join(',\n    ') }}
  from {{ ref(vendor ~ '_' ~ entity) }}
{%- endfor %}
{%- endmacro %}
