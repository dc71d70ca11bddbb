{# Rows of an entity landed from Pipedrive with the named payload fields as the struct p. #}
{% macro pipedrive_landed(entity, fields) -%}
select
  source_relation,
  record_id,
  modified_at,
  extracted_at,
  batch_id,
  is_initial_load,
  is_deleted,
  {{ json_struct('payload', fields) }} as p
from {{ source('landing_pipedrive', entity) }}
{%- endmacro %}

{# The same, the newest row of each record. #}
{% macro pipedrive_newest(entity, fields) -%}
select *
from (
  select
    landed_rows.*,
    row_number() over (
      partition by landed_rows.source_relation, landed_rows.record_id
      order by landed_rows.extracted_at desc, landed_rows.batch_id desc
    ) as newest_first
  from ({{ pipedrive_landed(entity, fields) }}) as landed_rows
) as ranked_rows
where newest_first = 1
{%- endmacro %}

{# An instant of either version: 2026-03-31 09:00:00 and 2026-03-31T09:00:00Z are the same, UTC. #}
{% macro pipedrive_instant(text) -%}
{{ try_type("replace(replace(" ~ text ~ ", 'T', ' '), 'Z', '')", 'timestamp') }}
{%- endmacro %}

{# One row per option of a field: source_relation, field_code, field_name, is_custom, option_id, option_label;
   a field without options has one row with nulls. #}
{% macro pipedrive_options(fields_entity) -%}
select
  fields.source_relation,
  fields.p.field_code as field_code,
  lower(trim(replace(fields.p.field_name, '_', ' '))) as field_name,
  fields.p.is_custom_field = 'true' as is_custom,
  options.item.id as option_id,
  options.item.label as option_label
from ({{ pipedrive_newest(fields_entity, ['field_code', 'field_name', 'is_custom_field']) }}) as fields
left join (
  select
    source_relation,
    record_id,
    {{ json_items('p.options', ['id', 'label']) }} as item
  from ({{ pipedrive_newest(fields_entity, ['options']) }}) as listed
) as options
  on fields.source_relation = options.source_relation
    and fields.record_id = options.record_id
{%- endmacro %}

{# One row per source and text of custom fields: `columns` maps each column to the names of the custom fields
   that fill it; `own`: each column to the field under which pipeline.yaml may name another one, by its name or code.
   Numbers of options become their labels, a list of them a sorted list. #}
{% macro pipedrive_named_values(records, fields_entity, columns, own={}) -%}
select
  told_fields.source_relation,
  told_fields.custom_fields,
  {%- for column, names in columns.items() %}
  max(case when {% if column in own -%}
    own.{{ own[column] }} = told_fields.field_code or lower(trim(replace(own.{{ own[column] }}, '_', ' '))) = told_fields.field_name
    or (own.{{ own[column] }} is null and {% else -%} ( {%- endif -%}
    told_fields.field_name in ('{{ names | join("', '") }}')) then told_fields.told_value end) as {{ column }}{{ "," if not loop.last }}
  {%- endfor %}
from (
  select
    texts.source_relation,
    texts.custom_fields,
    texts.field_code,
    fields.field_name,
    coalesce({{ sorted_list('fields.option_label') }}, max(texts.told_value)) as told_value
  from (
    select
      listed.source_relation,
      listed.custom_fields,
      codes.field_code,
      {{ json_member('listed.custom_fields', 'codes.field_code') }} as told_value
    from (
      select distinct
        source_relation,
        custom_fields
      from {{ records }}
      where custom_fields is not null
    ) as listed
    inner join (
      select distinct
        source_relation,
        field_code
      from ({{ pipedrive_options(fields_entity) }}) as all_fields
      where is_custom
    ) as codes on listed.source_relation = codes.source_relation
  ) as texts
  inner join ({{ pipedrive_options(fields_entity) }}) as fields
    on texts.source_relation = fields.source_relation
      and texts.field_code = fields.field_code
      and (
        fields.option_id is null
        or concat(',', replace(replace(replace(texts.told_value, '[', ''), ']', ''), ' ', ''), ',')
        like concat('%,', fields.option_id, ',%')
      )
  where texts.told_value is not null
  group by texts.source_relation, texts.custom_fields, texts.field_code, fields.field_name
) as told_fields
{%- if own %}
left join ({{ own_properties() }}) as own on told_fields.source_relation = own.source_relation
{%- endif %}
group by told_fields.source_relation, told_fields.custom_fields
{%- endmacro %}

{# The value of the property that pipeline.yaml names for a field: a custom one as `named` has it, or one of Pipedrive's
   own; else the default. An amount in a custom field comes with its currency. #}
{% macro pipedrive_own_or(field, column, default) -%}
case
  when own.{{ field }} is null then {{ default }}
  else coalesce({% if field == 'amount' %}{{ json_at("case when named.amount like '{%' then named.amount end", ['value']) }}, {% endif %}named.{{ column }}, {{ json_member('typed.payload', 'own.' ~ field) }})
end
{%- endmacro %}
