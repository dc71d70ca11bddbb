{%- set fields = [
  'deal_id', 'changed_at', 'stage', 'from_stage', 'pipeline', 'from_pipeline', 'amount', 'currency', 'close_date',
  'owner', 'status', 'forecast_category', 'probability', 'sequence', 'changed_by', 'event_id', 'is_bulk',
  'time_precision', 'change_source'
] -%}
-- A blank in a change row means "not told", never "cleared": nothing is carried back over a known value.
with rows_landed as (
  {{ landed('stage_history', fields) }}
),

final as (
  select
    source_relation,
    p.deal_id as deal_id,
    {{ try_type('p.changed_at', 'timestamp') }} as event_at,
    p.stage as stage_id,
    p.from_stage as from_stage_id,
    p.pipeline as pipeline_id,
    p.from_pipeline as from_pipeline_id,
    {{ try_type('p.amount', 'decimal(20, 3)') }} as amount_native,
    upper(p.currency) as currency,
    {{ try_type('p.close_date', 'date') }} as close_date,
    p.owner as owner_id,
    p.status as status,
    p.forecast_category as forecast_category,
    {{ try_type('p.probability', 'double') }} as probability,
    {{ try_type('p.sequence', 'bigint') }} as sequence_number,
    p.event_id as source_event_id,
    p.changed_by as changed_by,
    coalesce(p.change_source, 'history') as change_source,
    coalesce(p.time_precision, 'event') as time_precision,
    coalesce({{ try_type('p.is_bulk', 'boolean') }}, false) as is_bulk_flagged,
    extracted_at,
    is_initial_load
  from rows_landed
)

select * from final
