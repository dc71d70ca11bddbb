{%- set snapshot_fields = [
  'OpportunityId', 'StageName', 'CloseDate', 'Probability', 'ForecastCategory', 'CurrencyIsoCode', 'CreatedDate',
  'CreatedById'
] -%}
{%- set change_fields = ['OpportunityId', 'Field', 'OldValue', 'NewValue', 'CreatedDate', 'CreatedById'] -%}
-- Native history: a snapshot at each change of stage, amount, date or probability. It knows neither owner nor record
-- type; the history of fields does where their tracking is on, and what it tells is laid over the snapshots.
with own as (
  {{ own_properties() }}
),

-- where another field stands for the amount, its history is not told
snapshots as (
  select
    rows_landed.source_relation,
    p.opportunityid as deal_id,
    {{ try_type('p.createddate', 'timestamp') }} as event_at,
    record_id,
    {{ salesforce_sequence('record_id') }} as sequence_number,
    p.stagename as stage_id,
    case when own.amount is null then {{ try_type(json_number_text('payload', 'Amount'), 'decimal(20, 3)') }} end as amount_native,
    upper(p.currencyisocode) as currency,
    {{ try_type('p.closedate', 'date') }} as close_date,
    case when own.forecast_category is null then {{ salesforce_category('p.forecastcategory') }} end as forecast_category,
    {{ try_type('p.probability', 'double') }} / 100 as probability,
    p.createdbyid as changed_by,
    extracted_at,
    is_initial_load
  from ({{ landed_salesforce('stage_history', snapshot_fields) }}) as rows_landed
  left join own on rows_landed.source_relation = own.source_relation
),

changes as (
  select
    source_relation,
    p.opportunityid as deal_id,
    {{ try_type('p.createddate', 'timestamp') }} as event_at,
    record_id,
    {{ salesforce_sequence('record_id') }} as sequence_number,
    p.field as field,
    p.oldvalue as old_value,
    p.newvalue as new_value,
    p.createdbyid as changed_by,
    extracted_at,
    is_initial_load
  from ({{ landed_salesforce('field_history', change_fields) }}) as rows_landed
),

-- a change of owner or record type comes twice, with names and with ids
id_changes as (
  select
    source_relation,
    deal_id,
    event_at,
    record_id,
    sequence_number,
    field,
    {{ salesforce_long_id('old_value') }} as old_id,
    {{ salesforce_long_id('new_value') }} as new_id,
    changed_by,
    extracted_at,
    is_initial_load
  from changes
  where length(new_value) in (15, 18)
    and ((field = 'Owner' and new_value like '005%') or (field = 'RecordType' and new_value like '012%'))
),

first_values as (
  select
    source_relation,
    deal_id,
    {{ first_value_by("coalesce(old_id, '')", ['event_at', 'sequence_number'], "field = 'Owner'") }} as first_owner_id,
    {{ first_value_by("coalesce(old_id, '')", ['event_at', 'sequence_number'], "field = 'RecordType'") }} as first_pipeline_id
  from id_changes
  group by source_relation, deal_id
),

stages_left as (
  select
    source_relation,
    deal_id,
    event_at,
    new_value as stage_id,
    min(old_value) as from_stage_id
  from changes
  where field = 'StageName'
  group by source_relation, deal_id, event_at, new_value
),

time_line as (
  select
    source_relation,
    deal_id,
    event_at,
    1 as line_part,
    record_id,
    sequence_number,
    stage_id,
    amount_native,
    currency,
    close_date,
    forecast_category,
    probability,
    cast(null as {{ dbt.type_string() }}) as new_owner_id,
    cast(null as {{ dbt.type_string() }}) as new_pipeline_id,
    changed_by,
    extracted_at,
    is_initial_load
  from snapshots
  union all
  select
    source_relation,
    deal_id,
    event_at,
    0 as line_part,
    record_id,
    sequence_number,
    null as stage_id,
    null as amount_native,
    null as currency,
    null as close_date,
    null as forecast_category,
    null as probability,
    case when field = 'Owner' then new_id end as new_owner_id,
    case when field = 'RecordType' then new_id end as new_pipeline_id,
    changed_by,
    extracted_at,
    is_initial_load
  from id_changes
),

carried_forward as (
  select
    *,
    {{ carried('stage_id', 'deal_so_far') }} as stage_so_far,
    {{ carried('new_owner_id', 'deal_so_far') }} as owner_so_far,
    {{ carried('new_pipeline_id', 'deal_so_far') }} as pipeline_so_far,
    max(line_part) over (partition by source_relation, deal_id, event_at) = 1 as has_snapshot
  from time_line
  window deal_so_far as (
    partition by source_relation, deal_id
    order by event_at, line_part, sequence_number
    rows between unbounded preceding and current row
  )
),

-- the stage tells the pipeline where it belongs to one only
stage_pipelines as (
  select
    source_relation,
    stage_id,
    max(pipeline_id) as pipeline_id
  from {{ ref('salesforce_stages') }}
  group by source_relation, stage_id
  having count(distinct pipeline_id) = 1 and count(*) = count(pipeline_id)
),

placed as (
  select
    line.*,
    coalesce(line.owner_so_far, nullif(first_values.first_owner_id, '')) as owner_id,
    coalesce(
      stage_pipelines.pipeline_id,
      line.pipeline_so_far,
      case when first_values.first_pipeline_id = '' then 'default' else first_values.first_pipeline_id end
    ) as pipeline_id
  from carried_forward as line
  left join first_values
    on line.source_relation = first_values.source_relation
      and line.deal_id = first_values.deal_id
  left join stage_pipelines
    on line.source_relation = stage_pipelines.source_relation
      and line.stage_id = stage_pipelines.stage_id
),

final as (
  select
    placed.source_relation,
    placed.deal_id,
    placed.event_at,
    case when placed.new_pipeline_id is not null then placed.stage_so_far else placed.stage_id end as stage_id,
    stages_left.from_stage_id,
    placed.pipeline_id,
    cast(null as {{ dbt.type_string() }}) as from_pipeline_id,
    placed.amount_native,
    placed.currency,
    placed.close_date,
    placed.owner_id,
    cast(null as {{ dbt.type_string() }}) as status,
    placed.forecast_category,
    placed.probability,
    placed.sequence_number,
    placed.record_id as source_event_id,
    placed.changed_by,
    'history' as change_source,
    'event' as time_precision,
    false as is_bulk_flagged,
    placed.extracted_at,
    placed.is_initial_load
  from placed
  left join stages_left
    on placed.source_relation = stages_left.source_relation
      and placed.deal_id = stages_left.deal_id
      and placed.event_at = stages_left.event_at
      and placed.stage_id = stages_left.stage_id
  -- the snapshot of the same instant has taken over what a change tells
  where placed.line_part = 1 or not placed.has_snapshot
)

select * from final
