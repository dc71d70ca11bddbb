{# Rows of an entity landed from Salesforce with the named payload fields as the struct p. #}
{% macro landed_salesforce(entity, fields) -%}
select
  source_relation,
  record_id,
  modified_at,
  extracted_at,
  batch_id,
  is_initial_load,
  is_deleted,
  payload,
  {{ json_struct('payload', fields) }} as p
from {{ source('landing_salesforce', entity) }}
{%- endmacro %}

{# Only the newest delivery of each record. #}
{% macro landed_salesforce_newest(entity, fields) -%}
select *
from (
  select
    *,
    row_number() over (
      partition by source_relation, record_id
      order by modified_at desc nulls last, extracted_at desc, batch_id desc
    ) as newest_first
  from ({{ landed_salesforce(entity, fields) }}) as landed_rows
) as ranked
where newest_first = 1
{%- endmacro %}

{# The forecast category behind Salesforce's fixed values; their labels differ from org to org. #}
{% macro salesforce_category(value) -%}
case {{ value }}
  when 'BestCase' then 'best_case'
  when 'MostLikely' then 'most_likely'
  when 'Forecast' then 'commit'
  else lower({{ value }})
end
{%- endmacro %}

{# The 18 characters of an id that may have come with 15: each of the last three tells which of five characters are capitals. #}
{% macro salesforce_long_id(id) -%}
case
  when length({{ id }}) <> 15 then {{ id }}
  else concat(
    {{ id }}
    {%- for start in [1, 6, 11] %},
    substr('ABCDEFGHIJKLMNOPQRSTUVWXYZ012345', 1
      {%- for place in range(5) %} + case when substr({{ id }}, {{ start + place }}, 1) between 'A' and 'Z' then {{ 2 ** place }} else 0 end{% endfor %}, 1)
    {%- endfor %}
  )
end
{%- endmacro %}

{# The running number in an id, bigint: ids of one object ascend, and break ties within a second. #}
{% macro salesforce_sequence(id) -%}
cast(
  {%- for place in range(7, 16) %}
  cast(greatest(instr('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz', substr({{ id }}, {{ place }}, 1)) - 1, 0) as bigint) * {{ 62 ** (15 - place) }}{{ ' +' if not loop.last }}
  {%- endfor %}
as bigint)
{%- endmacro %}
