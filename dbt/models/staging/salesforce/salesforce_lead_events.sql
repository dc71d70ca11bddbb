with rows_landed as (
  {{ landed_salesforce('lead_history', ['LeadId', 'Field', 'OldValue', 'NewValue', 'CreatedDate']) }}
),

final as (
  select
    source_relation,
    p.leadid as lead_id,
    {{ try_type('p.createddate', 'timestamp') }} as event_at,
    p.newvalue as stage,
    p.oldvalue as from_stage,
    {{ salesforce_sequence('record_id') }} as sequence_number,
    extracted_at
  from rows_landed
  where p.field = 'Status'
)

select * from final
