{%- set told = ['source_relation', 'lead_id', 'event_at', 'stage', 'from_stage', 'sequence_number'] -%}
-- Stage changes of leads; exact repetitions collapse here, each keeping its first extraction.
with delivered as (
  select
    source_relation,
    p.lead_id as lead_id,
    {{ try_type('p.changed_at', 'timestamp') }} as event_at,
    p.stage as stage,
    p.from_stage as from_stage,
    {{ try_type('p.sequence', 'bigint') }} as sequence_number,
    extracted_at
  from ({{ landed('lead_history', ['lead_id', 'changed_at', 'stage', 'from_stage', 'sequence']) }}) as rows_landed
  {{ union_vendors('lead_events', told + ['extracted_at'], ['salesforce']) }}
),

words as (
  {{ lead_words() }}
),

final as (
  select
    {%- for column in told %}
    delivered.{{ column }},
    {%- endfor %}
    coalesce(max(words.outcome), {{ lead_outcome('delivered.stage') }}, 'open') as outcome,
    min(delivered.extracted_at) as first_extracted_at
  from delivered
  left join words on lower(trim(delivered.stage)) = words.word
  where delivered.lead_id is not null and delivered.event_at is not null and delivered.stage is not null
  group by
    {%- for column in told %}
    delivered.{{ column }}{{ ',' if not loop.last }}
    {%- endfor %}
)

select * from final
