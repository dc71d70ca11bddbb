{# Rows of a landed entity with the named payload fields as the struct p. #}
{% macro landed(entity, fields) -%}
select
  source_relation,
  record_id,
  modified_at,
  extracted_at,
  batch_id,
  is_initial_load,
  is_deleted,
  {{ json_struct('payload', fields) }} as p
from {{ source('landing_files', entity) }}
{%- endmacro %}

{# The same, only from the newest delivery of each file: a line that left the file is gone. #}
{% macro landed_newest(entity, fields) -%}
select landed_rows.*
from ({{ landed(entity, fields + ['file']) }}) as landed_rows
inner join (
  select
    source_relation,
    {{ json_struct('payload', ['file']) }}.file as file,
    max(extracted_at) as newest_extracted_at
  from {{ source('landing_files', entity) }}
  group by source_relation, {{ json_struct('payload', ['file']) }}.file
) as newest
  on landed_rows.source_relation = newest.source_relation
    and coalesce(landed_rows.p.file, '') = coalesce(newest.file, '')
    and landed_rows.extracted_at = newest.newest_extracted_at
{%- endmacro %}
