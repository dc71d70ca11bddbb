-- Change rows with dense deal keys, placed on the time line. The recorded instant stays beside the placed one:
-- a change from the future counts from its first extraction, one from before the deal existed counts from creation.
with events as (
  select
    source_relation,
    deal_id,
    event_at,
    stage_id,
    from_stage_id,
    pipeline_id,
    from_pipeline_id,
    amount_native,
    currency,
    close_date,
    owner_id,
    status,
    forecast_category,
    probability,
    sequence_number,
    source_event_id,
    changed_by,
    change_source,
    time_precision,
    is_bulk_flagged,
    cast(null as {{ dbt.type_string() }}) as inference_rule,
    first_extracted_at,
    is_initial_load
  from {{ ref('stg_deal_events') }}
  union all
  select
    source_relation,
    deal_id,
    event_at,
    stage_id,
    null as from_stage_id,
    pipeline_id,
    null as from_pipeline_id,
    amount_native,
    currency,
    close_date,
    owner_id,
    status,
    forecast_category,
    probability,
    snapshot_number as sequence_number,
    null as source_event_id,
    null as changed_by,
    'snapshot' as change_source,
    time_precision,
    false as is_bulk_flagged,
    inference_rule,
    first_extracted_at,
    is_initial_load
  from {{ ref('int_snapshot_events') }}
),

deals as (
  select * from {{ ref('int_deals') }}
),

context as (
  select * from {{ ref('stg_run_context') }}
),

stage_pipelines as (
  select
    source_relation,
    stage_id,
    max(pipeline_id) as pipeline_id
  from (
    select source_relation, stage_id, pipeline_id
    from {{ ref('int_stage_ranks') }}
    group by source_relation, stage_id, pipeline_id
  ) as stages
  group by source_relation, stage_id
  having count(*) = 1
),

joined as (
  select
    deals.deal_sk,
    deals.created_at,
    events.event_at as recorded_at,
    events.stage_id,
    case
      when events.stage_id is not null
        then coalesce(events.pipeline_id, stage_pipelines.pipeline_id, deals.pipeline_id, 'default')
    end as pipeline_id,
    events.from_stage_id,
    case
      when events.from_stage_id is not null
        then coalesce(
          events.from_pipeline_id, from_stage_pipelines.pipeline_id, events.pipeline_id, stage_pipelines.pipeline_id,
          deals.pipeline_id, 'default'
        )
    end as from_pipeline_id,
    events.amount_native,
    events.currency,
    events.close_date,
    coalesce(owners.member_id, events.owner_id) as owner_id,
    coalesce({{ closed_outcome('events.status') }}, case when events.status is not null then 'open' end) as status,
    events.forecast_category,
    events.probability,
    events.sequence_number,
    events.source_event_id,
    events.changed_by,
    events.change_source,
    events.time_precision,
    events.is_bulk_flagged,
    events.inference_rule,
    events.first_extracted_at,
    events.is_initial_load,
    known.known_on,
    context.time_zone,
    events.time_precision = 'day'
    and events.event_at < deals.created_at
    and {{ business_date('events.event_at', 'context.time_zone') }}
    = {{ business_date('deals.created_at', 'context.time_zone') }} as is_on_creation_day
  from events
  cross join context
  inner join deals
    on events.source_relation = deals.source_relation
      and events.deal_id = deals.deal_id
  left join stage_pipelines
    on events.source_relation = stage_pipelines.source_relation
      and events.stage_id = stage_pipelines.stage_id
  left join stage_pipelines as from_stage_pipelines
    on events.source_relation = from_stage_pipelines.source_relation
      and events.from_stage_id = from_stage_pipelines.stage_id
  left join {{ ref('int_lookup') }} as owners
    on owners.entity = 'owner'
      and events.source_relation = owners.source_relation
      and lower(trim(events.owner_id)) = owners.lookup_text
  left join {{ ref('int_known_on') }} as known on events.first_extracted_at = known.first_extracted_at
),

placed as (
  select
    *,
    case
      when recorded_at > first_extracted_at then first_extracted_at
      when recorded_at < created_at then created_at
      else recorded_at
    end as placed_at,
    recorded_at > first_extracted_at or (coalesce(recorded_at < created_at, false) and not coalesce(is_on_creation_day, false)) as is_clamped
  from joined
),

final as (
  select
    deal_sk,
    placed_at,
    recorded_at,
    is_clamped,
    pipeline_id,
    stage_id,
    from_pipeline_id,
    from_stage_id,
    amount_native,
    currency,
    close_date,
    owner_id,
    status,
    forecast_category,
    probability,
    sequence_number,
    source_event_id,
    changed_by,
    change_source,
    time_precision,
    is_bulk_flagged,
    inference_rule,
    first_extracted_at,
    case
      when is_initial_load then {{ business_date('placed_at', 'time_zone') }}
      else greatest({{ business_date('placed_at', 'time_zone') }}, coalesce(known_on, {{ business_date('placed_at', 'time_zone') }}))
    end as known_on,
    not is_initial_load and coalesce(known_on, date '1900-01-01') > {{ business_date('placed_at', 'time_zone') }} as is_late,
    is_initial_load
  from placed
)

select * from final
