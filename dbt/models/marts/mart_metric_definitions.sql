-- noqa: disable=TMP
-- Written from the descriptions of the columns themselves, so that no definition drifts
{% set definitions = [] -%}
{% set uses = [] -%}
{% set settings = [] -%}
{%- if graph is defined and execute -%}
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
          'version': metric.version or 1,
        } -%}
        {%- set texts = {} -%}
        {%- for field, text in words.items() -%}
          {%- do texts.update({field: (text or '') | string | trim | replace('\n', ' ') | replace('\\', '/') | replace("'", "''")}) -%}
        {%- endfor -%}
        {%- do definitions.append(texts) -%}
        {%- for setting in metric.settings or [] -%}
          {%- do uses.append((texts.table_name, texts.column_name, setting)) -%}
          {%- if setting not in settings -%}{%- do settings.append(setting) -%}{%- endif -%}
        {%- endfor -%}
      {%- endif -%}
    {%- endfor -%}
  {%- endfor -%}
{%- endif -%}
with context as (
  select * from {{ ref('stg_run_context') }}
),

definitions as (
  {%- for texts in definitions %}
    select
      {%- for field, text in texts.items() %}
        '{{ text }}' as {{ field }},
      {%- endfor %}
      true as is_definition
    union all
  {%- endfor %}
  -- the types, where nothing is defined
  select
    '' as table_name,
    '' as column_name,
    '' as metric_name,
    '' as definition,
    '' as formula,
    '' as unit,
    '' as caveats,
    '' as owner,
    '0' as version,
    false as is_definition
),

left_out as (
  select {{ sorted_list("concat(rule, ': ', written_name)") }} as names
  from {{ ref('int_exclusions') }}
  where member_key is not null
),

-- what the settings say of all metrics alike
scopes as (
  select
    nullif(trim(concat(
      case when left_out.names is not null then concat('Left out are ', left_out.names, '. ') else '' end,
      case
        when coalesce(context.amount_measure, 'amount') <> 'amount'
          then concat('The amount of a deal is its ', upper(context.amount_measure), '. ')
        else ''
      end,
      case
        when context.segments_region_from is not null
          then concat('The region of a deal is that of the ', context.segments_region_from, '.')
        else ''
      end
    )), '') as metric_scope
  from context
  cross join left_out
),

-- the settings that a definition leaves open, as the run was made with them
told as (
  {%- for setting in settings %}
    select
      '{{ setting }}' as setting,
      concat('{{ setting }}: ', coalesce(nullif({{ json_at('settings_json', ['metrics'] + setting.split('.')) }}, 'null'), 'not set')) as told
    from context
    union all
  {%- endfor %}
    select
      '' as setting,
      '' as told
),

uses as (
  {%- for table_name, column_name, setting in uses %}
    select
      '{{ table_name }}' as table_name,
      '{{ column_name }}' as column_name,
      '{{ setting }}' as setting
    union all
  {%- endfor %}
    select
      '' as table_name,
      '' as column_name,
      '' as setting
),

in_force as (
  select
    uses.table_name,
    uses.column_name,
    {{ sorted_list('told.told') }} as settings_in_force
  from uses
  inner join told on uses.setting = told.setting
  group by uses.table_name, uses.column_name
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
    in_force.settings_in_force,
    nullif(definitions.owner, '') as owner,
    cast(definitions.version as int) as version,
    scopes.metric_scope,
    context.definition_version
  from definitions
  cross join context
  cross join scopes
  left join in_force
    on definitions.table_name = in_force.table_name
      and definitions.column_name = in_force.column_name
  where definitions.is_definition
)

select * from final
