-- HubSpot forgets stages that are deleted and how others were named: each night's list is kept, and a row begins
-- where a list differs from the one before.
{%- set shape = {'id': '', 'stages': [{'id': '', 'label': '', 'displayOrder': '', 'createdAt': '', 'updatedAt': '', 'metadata': {'isClosed': '', 'probability': ''}}]} %}
with pipelines_landed as (
  select
    source_relation,
    extracted_at,
    batch_id,
    {{ json_shape('payload', shape) }} as p
  from {{ source('landing_hubspot', 'pipelines') }}
),

stages_landed as (
  {{ each_item('pipelines_landed', ['source_relation', 'extracted_at', 'batch_id', 'p.id as pipeline_id'], 'p.stages') }}
),

told as (
  select
    source_relation,
    extracted_at,
    batch_id,
    pipeline_id,
    item.id as stage_id,
    item.label as stage_name,
    {{ try_type('item.displayorder', 'double') }} as display_order,
    {{ try_type('item.metadata.probability', 'double') }} as probability,
    lower(coalesce(item.metadata.isclosed, 'false')) = 'true' as is_closed,
    {{ told_instant('item.createdat') }} as created_at,
    {{ told_instant('item.updatedat') }} as updated_at,
    min(extracted_at) over (partition by source_relation) as first_extracted_at
  from stages_landed
),

compared as (
  select
    *,
    lag(extracted_at) over stage_line as previous_extracted_at,
    {{ is_different(
      'lag(' ~ packed(['stage_name', 'display_order', 'probability', 'is_closed']) ~ ') over stage_line',
      packed(['stage_name', 'display_order', 'probability', 'is_closed'])
    ) }} as is_changed
  from told
  window stage_line as (partition by source_relation, pipeline_id, stage_id order by extracted_at, batch_id)
),

final as (
  select
    source_relation,
    pipeline_id,
    stage_id,
    stage_name,
    display_order,
    case
      when not is_closed then 'open'
      when probability >= 1 then 'won'
      when probability <= 0 then 'lost'
      else 'closed_other'
    end as outcome,
    probability,
    cast(null as {{ dbt.type_string() }}) as forecast_category,
    -- the list of the first night is taken to have held before; later the portal's own instant counts, if it fits
    case
      when extracted_at = first_extracted_at then timestamp '1900-01-01 00:00:00'
      when previous_extracted_at is null and created_at > first_extracted_at and created_at <= extracted_at then created_at
      when updated_at > previous_extracted_at and updated_at <= extracted_at then updated_at
      else extracted_at
    end as valid_from_at
  from compared
  where previous_extracted_at is null or is_changed
)

select * from final
