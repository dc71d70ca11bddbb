{%- set told = [
  'source_relation', 'deal_id', 'event_at', 'stage_id', 'from_stage_id', 'pipeline_id', 'from_pipeline_id',
  'amount_native', 'currency', 'close_date', 'owner_id', 'status', 'forecast_category', 'probability',
  'sequence_number', 'source_event_id', 'changed_by', 'change_source', 'time_precision', 'is_bulk_flagged'
] -%}
{%- set noted = ['extracted_at', 'is_initial_load'] -%}
-- Change rows of all sources; exact repetitions collapse here, each keeping its first extraction.
with events as (
  select
    {{ (told + noted) | join(',\n    ') }}
  from {{ ref('files_deal_events') }}
  {{ union_vendors('deal_events', told + noted) }}
),

final as (
  select
    {{ told | join(',\n    ') }},
    min(extracted_at) as first_extracted_at,
    max(case when is_initial_load then 1 else 0 end) = 1 as is_initial_load
  from events
  where deal_id is not null and event_at is not null
  group by
    {{ told | join(',\n    ') }}
)

select * from final
