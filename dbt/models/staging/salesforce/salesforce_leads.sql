-- Leads as they are now. The record tells only the day of a conversion, the history of fields its instant.
with newest as (
  {{ landed_salesforce_newest('leads', [
    'Status', 'IsConverted', 'OwnerId', 'CreatedDate', 'LeadSource', 'ConvertedDate', 'ConvertedOpportunityId'
  ]) }}
),

context as (
  select time_zone from {{ ref('stg_run_context') }}
),

conversions as (
  select
    source_relation,
    p.leadid as lead_id,
    min({{ try_type('p.createddate', 'timestamp') }}) as converted_at
  from ({{ landed_salesforce('lead_history', ['LeadId', 'Field', 'CreatedDate']) }}) as rows_landed
  where p.field = 'leadConverted'
  group by source_relation, p.leadid
),

final as (
  select
    newest.source_relation,
    newest.record_id as lead_id,
    case when newest.p.convertedopportunityid is not null then {{ salesforce_long_id('newest.p.convertedopportunityid') }} end as deal_id,
    cast(null as {{ dbt.type_string() }}) as lead_name,
    newest.p.status as stage,
    case when newest.p.isconverted = 'true' then 'converted' end as told_status,
    {{ try_type('newest.p.createddate', 'timestamp') }} as created_at,
    case
      when newest.p.isconverted = 'true'
        then coalesce(conversions.converted_at, {{ utc_instant(try_type('newest.p.converteddate', 'date'), 'context.time_zone') }})
    end as converted_at,
    newest.modified_at,
    newest.p.ownerid as owner_id,
    newest.p.leadsource as lead_source,
    newest.is_deleted,
    newest.extracted_at,
    newest.batch_id,
    cast(null as bigint) as delivery_order
  from newest
  cross join context
  left join conversions
    on newest.source_relation = conversions.source_relation
      and newest.record_id = conversions.lead_id
)

select * from final
