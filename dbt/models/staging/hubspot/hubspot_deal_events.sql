-- One row per deal and instant at which something changed. Every delivery tells a deal's whole history again; equal
-- rows collapse behind this model, and what HubSpot has dropped meanwhile stays.
{%- set item = {'value': '', 'timestamp': '', 'sourceType': '', 'sourceId': '', 'updatedByUserId': ''} %}
{%- set whose = ['source_relation', 'deal_id', 'batch_id', 'extracted_at', 'is_initial_load'] %}
with landed_rows as (
  select
    source_relation,
    record_id as deal_id,
    batch_id,
    extracted_at,
    is_initial_load,
    {{ json_shape('payload', {'propertiesWithHistory': {'*': [item]}}) }}.propertieswithhistory as told
  from {{ source('landing_hubspot', 'deal_history') }}
),

by_property as (
  {{ each_entry('landed_rows', whose, 'told') }}
),

items as (
  {{ each_item('by_property', whose + ['entry_key'], 'entry_value') }}
),

-- who made a change: the owner behind a user, else the kind of source and its id
owner_records as (
  select
    source_relation,
    record_id as owner_id,
    extracted_at,
    {{ json_shape('payload', {'userId': '', 'userIdIncludingInactive': ''}) }} as p
  from {{ source('landing_hubspot', 'owners') }}
),

users as (
  select
    source_relation,
    coalesce(p.userid, p.useridincludinginactive) as user_id,
    max(owner_id) as owner_id
  from owner_records
  where coalesce(p.userid, p.useridincludinginactive) is not null
  group by source_relation, coalesce(p.userid, p.useridincludinginactive)
),

own as (
  {{ own_properties() }}
),

-- newest items come first; those of one instant are counted from the oldest
typed as (
  select
    items.source_relation,
    items.deal_id,
    items.batch_id,
    items.extracted_at,
    items.is_initial_load,
    case
      when items.entry_key = own.amount then 'amount'
      when items.entry_key = own.forecast_category then 'hs_manual_forecast_category'
      when items.entry_key = 'amount' and own.amount is not null then '(not used)'
      when items.entry_key = 'hs_manual_forecast_category' and own.forecast_category is not null then '(not used)'
      else items.entry_key
    end as property_name,
    {{ told_instant('items.item.timestamp') }} as event_at,
    nullif(trim(items.item.value), '') as told_value,
    coalesce(
      users.owner_id,
      case when items.item.updatedbyuserid is not null then concat('user ', items.item.updatedbyuserid) end,
      case
        when nullif(items.item.sourceid, '') is not null then concat(items.item.sourcetype, ':', items.item.sourceid)
        else items.item.sourcetype
      end
    ) as changed_by,
    coalesce(items.item.sourcetype in ('CRM_UI_BULK_ACTION', 'BATCH_UPDATE', 'IMPORT', 'DATA_MIGRATION'), false) as is_bulk_flagged,
    row_number() over (
      partition by items.source_relation, items.deal_id, items.batch_id, items.entry_key, items.item.timestamp
      order by items.item_number desc
    ) as place_in_instant
  from items
  left join users
    on items.source_relation = users.source_relation
      and items.item.updatedbyuserid = users.user_id
  left join own on items.source_relation = own.source_relation
),

-- a merged deal has the histories of those it was made of; until the merge they are theirs
merge_times as (
  select
    source_relation,
    deal_id,
    max(event_at) as merged_at
  from typed
  where property_name = 'hs_merged_object_ids' and told_value is not null
  group by source_relation, deal_id
),

placed as (
  select
    typed.*,
    merge_times.merged_at,
    coalesce(typed.event_at <= merge_times.merged_at, false) as is_before_merge,
    row_number() over (
      partition by
        typed.source_relation, typed.deal_id, typed.batch_id, typed.property_name, coalesce(typed.event_at <= merge_times.merged_at, false)
      order by typed.event_at desc, typed.place_in_instant desc
    ) as newest_first
  from typed
  left join merge_times
    on typed.source_relation = merge_times.source_relation
      and typed.deal_id = merge_times.deal_id
  where typed.property_name not in ('hs_merged_object_ids', '(not used)')
    and typed.told_value is not null
    and typed.event_at is not null
),

told_values as (
  select
    source_relation,
    deal_id,
    batch_id,
    extracted_at,
    is_initial_load,
    property_name,
    told_value,
    changed_by,
    is_bulk_flagged,
    case when is_before_merge then merged_at else event_at end as event_at,
    case when is_before_merge then 1 else place_in_instant end as place_in_instant
  from placed
  where not is_before_merge or newest_first = 1
),

-- the pipeline that a deal was in: a change of the same second belongs to the stage's
paired as (
  select
    *,
    {{ carried("case when property_name = 'pipeline' then told_value end", 'deal_so_far') }} as pipeline_then
  from told_values
  window deal_so_far as (
    partition by source_relation, deal_id, batch_id
    order by
      floor({{ epoch_us('event_at') }} / 1000000),
      case when property_name = 'pipeline' then 0 else 1 end,
      event_at,
      place_in_instant
    rows between unbounded preceding and current row
  )
),

pivoted as (
  select
    source_relation,
    deal_id,
    extracted_at,
    is_initial_load,
    event_at,
    place_in_instant,
    max(case when property_name = 'dealstage' then told_value end) as stage_id,
    max(case when property_name = 'dealstage' then pipeline_then end) as pipeline_then,
    max(case when property_name = 'amount' then told_value end) as amount,
    max(case when property_name = 'deal_currency_code' then told_value end) as currency,
    max(case when property_name = 'closedate' then told_value end) as close_at,
    max(case when property_name = 'hubspot_owner_id' then told_value end) as owner_id,
    max(case when property_name = 'hs_manual_forecast_category' then told_value end) as forecast_category,
    coalesce(max(case when property_name = 'dealstage' then changed_by end), max(changed_by)) as changed_by,
    max(case when is_bulk_flagged then 1 else 0 end) = 1 as is_bulk_flagged
  from paired
  group by source_relation, deal_id, batch_id, extracted_at, is_initial_load, event_at, place_in_instant
),

-- stage ids are unique in a portal, so a stage tells its pipeline; one that was never seen alive does not
stage_pipelines as (
  select
    source_relation,
    stage_id,
    max(pipeline_id) as pipeline_id
  from {{ ref('hubspot_stages') }}
  group by source_relation, stage_id
  having min(pipeline_id) = max(pipeline_id)
),

context as (
  select time_zone from {{ ref('stg_run_context') }}
),

final as (
  select
    pivoted.source_relation,
    pivoted.deal_id,
    pivoted.event_at,
    pivoted.stage_id,
    cast(null as {{ dbt.type_string() }}) as from_stage_id,
    case when pivoted.stage_id is not null then coalesce(stage_pipelines.pipeline_id, pivoted.pipeline_then) end as pipeline_id,
    cast(null as {{ dbt.type_string() }}) as from_pipeline_id,
    {{ try_type('pivoted.amount', 'decimal(20, 3)') }} as amount_native,
    upper(pivoted.currency) as currency,
    {{ told_date(told_instant('pivoted.close_at'), 'context.time_zone') }} as close_date,
    pivoted.owner_id,
    cast(null as {{ dbt.type_string() }}) as status,
    pivoted.forecast_category,
    cast(null as double) as probability,
    cast(pivoted.place_in_instant as bigint) as sequence_number,
    cast(null as {{ dbt.type_string() }}) as source_event_id,
    pivoted.changed_by,
    'history' as change_source,
    'event' as time_precision,
    pivoted.is_bulk_flagged,
    pivoted.extracted_at,
    pivoted.is_initial_load
  from pivoted
  cross join context
  left join stage_pipelines
    on pivoted.source_relation = stage_pipelines.source_relation
      and pivoted.stage_id = stage_pipelines.stage_id
)

select * from final
