-- Every reading of the stages is kept; a stage gets a new row where its name, order or pipeline has changed.
-- A change counts from the night that saw it, a stage that was made later from its making.
with readings as (
  {{ pipedrive_landed('stages', ['id', 'name', 'pipeline_id', 'order_nr', 'deal_probability', 'add_time']) }}
),

compared as (
  select
    *,
    min(extracted_at) over (partition by source_relation) as source_first_read_at,
    row_number() over stage_readings as reading_number,
    {{ packed(['p.name', 'p.pipeline_id', 'p.order_nr', 'p.deal_probability']) }} as values_now,
    lag({{ packed(['p.name', 'p.pipeline_id', 'p.order_nr', 'p.deal_probability']) }}) over stage_readings as values_before
  from readings
  window stage_readings as (partition by source_relation, record_id order by extracted_at, batch_id)
),

final as (
  select
    source_relation,
    p.pipeline_id as pipeline_id,
    p.id as stage_id,
    p.name as stage_name,
    {{ try_type('p.order_nr', 'double') }} as display_order,
    'open' as outcome,
    {{ try_type('p.deal_probability', 'double') }} / 100 as probability,
    cast(null as {{ dbt.type_string() }}) as forecast_category,
    case
      when reading_number > 1 then extracted_at
      when extracted_at = source_first_read_at then timestamp '1900-01-01 00:00:00'
      else coalesce({{ pipedrive_instant('p.add_time') }}, extracted_at)
    end as valid_from_at
  from compared
  where reading_number = 1 or {{ is_different('values_before', 'values_now') }}
)

select * from final
