{%- set fields = ['ApiName', 'MasterLabel', 'SortOrder', 'IsClosed', 'IsWon', 'DefaultProbability', 'ForecastCategory'] -%}
-- Salesforce tells its stages as they are now: what differs from the delivery before holds from that delivery on.
-- A stage that is delivered no more keeps its last row.
with delivered as (
  select
    source_relation,
    extracted_at,
    batch_id,
    coalesce(p.apiname, p.masterlabel) as stage_id,
    coalesce(p.masterlabel, p.apiname) as stage_name,
    {{ try_type('p.sortorder', 'double') }} as display_order,
    case
      when p.iswon = 'true' then 'won'
      when p.isclosed = 'true' then 'lost'
      else 'open'
    end as outcome,
    {{ try_type('p.defaultprobability', 'double') }} / 100 as probability,
    {{ salesforce_category('p.forecastcategory') }} as forecast_category
  from ({{ landed_salesforce('stages', fields) }}) as rows_landed
),

packed as (
  select
    *,
    {{ packed(['stage_name', 'display_order', 'outcome', 'probability', 'forecast_category']) }} as all_values
  from delivered
),

compared as (
  select
    *,
    row_number() over stage_line as delivery_number,
    lag(all_values) over stage_line as values_before
  from packed
  window stage_line as (partition by source_relation, stage_id order by extracted_at, batch_id)
),

deals as (
  select
    source_relation,
    record_id as deal_id,
    coalesce(p.recordtypeid, 'default') as pipeline_id,
    p.stagename as stage_id
  from ({{ landed_salesforce('deals', ['RecordTypeId', 'StageName']) }}) as rows_landed
  where p.stagename is not null
),

-- what a record type offers, and what its deals were seen in
offered as (
  select
    source_relation,
    substr(record_id, 1, 18) as pipeline_id,
    substr(record_id, 20) as stage_id
  from {{ source('landing_salesforce', 'pipeline_stages') }}
  union
  select
    source_relation,
    pipeline_id,
    stage_id
  from deals
),

-- a stage that only history knows belongs where the deals that passed it are now
past as (
  select distinct
    history.source_relation,
    deals.pipeline_id,
    history.p.stagename as stage_id
  from ({{ landed_salesforce('stage_history', ['OpportunityId', 'StageName']) }}) as history
  inner join deals
    on history.source_relation = deals.source_relation
      and history.p.opportunityid = deals.deal_id
  left join offered
    on history.source_relation = offered.source_relation
      and history.p.stagename = offered.stage_id
  where offered.stage_id is null
),

members as (
  select source_relation, pipeline_id, stage_id from offered
  union
  select source_relation, pipeline_id, stage_id from past
),

sources_with_picklists as (
  select source_relation
  from {{ source('landing_salesforce', 'pipeline_stages') }}
  group by source_relation
),

final as (
  select
    compared.source_relation,
    members.pipeline_id,
    compared.stage_id,
    compared.stage_name,
    compared.display_order,
    compared.outcome,
    compared.probability,
    compared.forecast_category,
    case
      when compared.delivery_number = 1 then timestamp '1900-01-01 00:00:00'
      else compared.extracted_at
    end as valid_from_at
  from compared
  left join members
    on compared.source_relation = members.source_relation
      and compared.stage_id = members.stage_id
  left join sources_with_picklists on compared.source_relation = sources_with_picklists.source_relation
  where (compared.delivery_number = 1 or {{ is_different('compared.values_before', 'compared.all_values') }})
    -- where record types name their stages, one that none offers and no deal knows is out of use
    and (members.stage_id is not null or sources_with_picklists.source_relation is null)
)

select * from final
