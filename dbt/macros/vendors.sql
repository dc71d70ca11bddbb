{# The rows of an entity that CRMs deliver over their interfaces, to stand under those from files.
   STAGELEDGER_SOURCE_TYPES names the types of all sources with commas between them. Each vendor's folder has one
   model per entity, <vendor>_<entity>, with these columns; `told_by`: the vendors that have the entity at all. #}
{% macro union_vendors(entity, columns, told_by=none) -%}
{%- for vendor in env_var('STAGELEDGER_SOURCE_TYPES', 'files').split(',') if vendor != 'files' and (told_by is none or vendor in told_by) %}
  union all
  select
    {{ columns | join(',\n    ') }}
  from {{ ref(vendor ~ '_' ~ entity) }}
{%- endfor %}
{%- endmacro %}
