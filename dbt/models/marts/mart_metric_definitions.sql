{#- Written from the descriptions of the columns themselves, so a definition cannot drift from the column it defines. -#}
{%- set definitions = [] -%}
{%- if execute -%}
{%- set owners = {} -%}
{%- for group in (graph.groups or {}).values() -%}
{%- do owners.update({group.name: group.owner.name or group.owner.email}) -%}
{%- endfor -%}
{%- set models = graph.nodes.values() | selectattr('resource_type', 'equalto', 'model') | list -%}
{%- for node in (models + graph.sources.values() | list) | sort(attribute='name') -%}
{%- for column in node.columns.values() -%}
{%- set metric = (column.config.meta if column.config else {}).metric or (column.meta or {}).metric -%}
{%- if metric -%}
{%- set words = {
  'table_name': node.alias or node.identifier or node.name,
  'column_name': column.name,
  'metric_name': metric.name or column.name,
  'definition': metric.definition or column.description,
  'formula': metric.formula,
  'unit': metric.unit,
  'caveats': metric.caveats,
  'owner': owners.get(node.config.group) or (node.meta or {}).owner,
} -%}
{%- set texts = {} -%}
{%- for field, text in words.items() -%}
{%- do texts.update({field: (text or '') | string | trim | replace('\n', ' ') | replace('\\', '/') | replace("'", "''")}) -%}
{%- endfor -%}
{%- do definitions.append({'texts': texts, 'version': metric.version or 1}) -%}
{%- endif -%}
{%- endfor -%}
{%- endfor -%}
{%- endif -%}
with context as (
  select * from {{ ref('stg_run_context') }}
),

definitions as (
  {%- for row in definitions %}
  select
    {%- for field, text in row.texts.items() %}
    '{{ text }}' as {{ field }},
    {%- endfor %}
    cast({{ row.version }} as int) as version
  union all
  {%- endfor %}
  select
    '' as table_name, '' as column_name, '' as metric_name, '' as definition, '' as formula, '' as unit, '' as caveats, '' as owner,
    cast(0 as int) as version
),

final as (
  select
    definitions.metric_name as name,
    definitions.table_name,
    definitions.column_name,
    definitions.definition,
    nullif(definitions.formula, '') as formula,
    nullif(definitions.unit, '') as unit,
    nullif(definitions.caveats, '') as caveats,
    nullif(definitions.owner, '') as owner,
    definitions.version,
    context.definition_version
  from definitions
  cross join context
  where definitions.version > 0
)

select * from final
