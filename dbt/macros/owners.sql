{# All deliveries of the owners, oldest and newest: from their files, and from CRMs. #}
{% macro delivered_owners() -%}
select
  source_relation,
  extracted_at,
  batch_id,
  {{ try_type('p.row', 'bigint') }} as delivery_order,
  p.owner_id as owner_id,
  p.name as owner_name,
  p.email as email,
  p.team as team,
  p.manager as manager,
  p.region as region,
  {{ try_type('p.started_on', 'date') }} as started_on,
  {{ try_type('p.ended_on', 'date') }} as ended_on,
  {{ try_type('p.is_active', 'boolean') }} as is_active
from ({{ landed('owners', ['owner_id', 'name', 'email', 'team', 'manager', 'region', 'started_on', 'ended_on', 'is_active', 'row']) }}) as rows_landed
{{ union_vendors('owners', ['source_relation', 'extracted_at', 'batch_id', 'delivery_order', 'owner_id', 'owner_name', 'email', 'team', 'manager', 'region', 'started_on', 'ended_on', 'is_active']) }}
{%- endmacro %}
