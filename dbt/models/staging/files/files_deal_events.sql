{%- set fields = [
  'deal_id', 'changed_at', 'stage', 'from_stage', 'pipeline', 'from_pipeline', 'amount', 'arr', 'tcv', 'currency', 'close_date',
  'owner', 'status', 'forecast_category', 'probability', 'sequence', 'changed_by', 'event_id', 'is_bulk',
  'time_precision', 'change_source'
] -%}
-- A blank in a change row means "not told", never "cleared": nothing is carried back over a known value.
with rows_landed as (
  {{ landed('stage_history', fields) }}
),

final as (
  select
    rows_landed.source_relation,
    rows_landed.p.deal_id as deal_id,
    {{ try_type('rows_landed.p.changed_at', 'timestamp') }} as event_at,
    rows_landed.p.stage as stage_id,
    rows_landed.p.from_stage as from_stage_id,
    rows_landed.p.pipeline as pipeline_id,
    rows_landed.p.from_pipeline as from_pipeline_id,
    {{ try_type(measured_amount('rows_landed.p', 'context.amount_measure'), 'decimal(20, 3)') }} as amount_native,
    upper(rows_landed.p.currency) as currency,
    {{ try_type('rows_landed.p.close_date', 'date') }} as close_date,
    rows_landed.p.owner as owner_id,
    rows_landed.p.status as status,
    rows_landed.p.forecast_category as forecast_category,
    {{ try_type('rows_landed.p.probability', 'double') }} as probability,
    {{ try_type('rows_landed.p.sequence', 'bigint') }} as sequence_number,
    rows_landed.p.event_id as source_event_id,
    rows_landed.p.changed_by as changed_by,
    coalesce(rows_landed.p.change_source, 'history') as change_source,
    coalesce(rows_landed.p.time_precision, 'event') as time_precision,
    coalesce({{ try_type('rows_landed.p.is_bulk', 'boolean') }}, false) as is_bulk_flagged,
    rows_landed.extracted_at,
    rows_landed.is_initial_load
  from rows_landed
  cross join {{ ref('stg_run_context') }} as context
)

select * from final
