-- The changes of each deal's history, and before them how the deal began: for each field the old value of its first
-- change, or, where it never changed, the value of the first record seen.
with readings as (
  {{ pipedrive_landed('changelog', ['changes']) }}
),

all_entries as (
  select
    source_relation,
    record_id as deal_id,
    extracted_at,
    is_initial_load,
    {{ json_items('p.changes', ['field_key', 'old_value', 'new_value', 'time', 'actor_user_id', 'is_bulk_update_flag']) }} as entry
  from readings
),

-- each reading tells the whole history again; version 1 has its own names for two fields
entries as (
  select
    source_relation,
    deal_id,
    {{ pipedrive_instant('entry.time') }} as event_at,
    case entry.field_key
      when 'user_id' then 'owner_id'
      when 'pipeline' then 'pipeline_id'
      else entry.field_key
    end as field,
    entry.old_value as old_value,
    entry.new_value as new_value,
    max(entry.actor_user_id) as changed_by,
    max(case when entry.is_bulk_update_flag = 'true' then 1 else 0 end) as bulk_flag,
    min(extracted_at) as extracted_at,
    max(case when is_initial_load then 1 else 0 end) as initial_flag
  from all_entries
  group by source_relation, deal_id, entry.time, entry.field_key, entry.old_value, entry.new_value
),

-- of several changes of a field at one instant, the one that follows no other comes first
linked as (
  select
    entries.source_relation,
    entries.deal_id,
    entries.event_at,
    entries.field,
    entries.old_value,
    entries.new_value,
    entries.changed_by,
    entries.bulk_flag,
    entries.extracted_at,
    entries.initial_flag,
    max(case when others.new_value = entries.old_value then 1 else 0 end) as follows_another,
    max(case when others.old_value = entries.new_value then 1 else 0 end) as is_followed
  from entries
  left join entries as others
    on entries.source_relation = others.source_relation
      and entries.deal_id = others.deal_id
      and entries.event_at = others.event_at
      and entries.field = others.field
  group by
    entries.source_relation,
    entries.deal_id,
    entries.event_at,
    entries.field,
    entries.old_value,
    entries.new_value,
    entries.changed_by,
    entries.bulk_flag,
    entries.extracted_at,
    entries.initial_flag
),

placed as (
  select
    *,
    row_number() over (
      partition by source_relation, deal_id, field
      order by event_at, follows_another, extracted_at, old_value, new_value
    ) as change_number,
    row_number() over (
      partition by source_relation, deal_id, field, event_at, extracted_at
      order by is_followed, follows_another desc, new_value
    ) as last_of_instant
  from linked
  where event_at is not null
),

-- what became known at once of one instant is one row
instants as (
  select
    source_relation,
    deal_id,
    event_at,
    extracted_at,
    max(initial_flag) as initial_flag,
    max(bulk_flag) as bulk_flag,
    max(changed_by) as changed_by,
    max(case when field = 'pipeline_id' and last_of_instant = 1 then new_value end) as pipeline_id,
    max(case when field = 'status' and last_of_instant = 1 then new_value end) as status,
    max(case when field = 'value' and last_of_instant = 1 then coalesce(new_value, '0') end) as amount,
    max(case when field = 'currency' and last_of_instant = 1 then new_value end) as currency,
    max(case when field = 'expected_close_date' and last_of_instant = 1 then new_value end) as expected_close_date,
    max(case when field = 'owner_id' and last_of_instant = 1 then new_value end) as owner_id,
    max(case when field = 'stage_id' then 1 else 0 end) as stage_changes
  from placed
  group by source_relation, deal_id, event_at, extracted_at
),

first_values as (
  select
    source_relation,
    deal_id,
    {%- for name in ['stage_id', 'pipeline_id', 'status', 'value', 'currency', 'expected_close_date', 'owner_id'] %}
    max(case when field = '{{ name }}' then 1 else 0 end) = 1 as has_{{ name }},
    max(case when field = '{{ name }}' and change_number = 1 then old_value end) as {{ name }}{{ "," if not loop.last }}
    {%- endfor %}
  from placed
  group by source_relation, deal_id
),

first_records as (
  select *
  from (
    select
      source_relation,
      record_id as deal_id,
      {{ json_struct('payload', [
        'add_time', 'creator_user_id', 'stage_id', 'pipeline_id', 'status', 'value', 'currency', 'expected_close_date',
        'owner_id', 'close_time'
      ]) }} as p,
      row_number() over (partition by source_relation, record_id order by extracted_at, batch_id, modified_at) as first_first
    from {{ source('landing_pipedrive', 'deals') }}
    where {{ json_struct('payload', ['stageledger']) }}.stageledger is null
  ) as ordered_records
  where first_first = 1
),

read_deals as (
  select
    source_relation,
    record_id as deal_id,
    min(extracted_at) as extracted_at,
    max(case when is_initial_load then 1 else 0 end) as initial_flag
  from readings
  group by source_relation, record_id
),

beginnings as (
  select
    read_deals.source_relation,
    read_deals.deal_id,
    {{ pipedrive_instant('first_records.p.add_time') }} as event_at,
    read_deals.extracted_at,
    read_deals.initial_flag,
    first_records.p.creator_user_id as changed_by,
    case when told.has_stage_id then told.stage_id else first_records.p.stage_id end as stage_id,
    case when told.has_pipeline_id then told.pipeline_id else first_records.p.pipeline_id end as pipeline_id,
    case when told.has_status then told.status else first_records.p.status end as status,
    case when told.has_value then told.value else first_records.p.value end as amount,
    case when told.has_currency then told.currency else first_records.p.currency end as currency,
    case when told.has_expected_close_date then told.expected_close_date else first_records.p.expected_close_date end as expected_close_date,
    case when told.has_owner_id then told.owner_id else first_records.p.owner_id end as owner_id,
    {{ pipedrive_instant('first_records.p.close_time') }} as close_time
  from read_deals
  inner join first_records
    on read_deals.source_relation = first_records.source_relation
      and read_deals.deal_id = first_records.deal_id
  left join first_values as told
    on read_deals.source_relation = told.source_relation
      and read_deals.deal_id = told.deal_id
),

-- the expected date waits while a deal is closed; until then its close date is the day of its closing
dated as (
  select
    source_relation,
    deal_id,
    event_at,
    extracted_at,
    place,
    {{ carried('status', 'deal_so_far') }} as status,
    {{ carried('closed_at', 'deal_so_far') }} as closed_at,
    {{ carried('expected_close_date', 'deal_so_far') }} as expected_close_date
  from (
    select
      source_relation,
      deal_id,
      event_at,
      extracted_at,
      0 as place,
      status,
      case when status in ('won', 'lost') then coalesce(close_time, event_at) end as closed_at,
      expected_close_date
    from beginnings
    union all
    select
      source_relation,
      deal_id,
      event_at,
      extracted_at,
      1 as place,
      status,
      case when status in ('won', 'lost') then event_at end as closed_at,
      expected_close_date
    from instants
  ) as line
  window deal_so_far as (
    partition by source_relation, deal_id
    order by event_at, place, extracted_at
    rows between unbounded preceding and current row
  )
),

closings as (
  select
    dated.source_relation,
    dated.deal_id,
    dated.event_at,
    dated.extracted_at,
    dated.place,
    case
      when dated.status in ('won', 'lost') then {{ business_date('dated.closed_at', 'context.time_zone') }}
      else {{ try_type('dated.expected_close_date', 'date') }}
    end as close_date
  from dated
  cross join {{ ref('stg_run_context') }} as context
),

-- where another field stands for the value, its history is not told
own as (
  {{ own_properties() }}
),

events as (
  select
    beginnings.source_relation,
    beginnings.deal_id,
    beginnings.event_at,
    beginnings.stage_id,
    cast(null as {{ dbt.type_string() }}) as from_stage_id,
    beginnings.pipeline_id,
    case when own.amount is null then nullif({{ try_type('beginnings.amount', 'decimal(20, 3)') }}, 0) end as amount_native,
    beginnings.currency,
    closings.close_date,
    beginnings.owner_id,
    beginnings.status,
    beginnings.changed_by,
    0 as bulk_flag,
    beginnings.extracted_at,
    beginnings.initial_flag
  from beginnings
  inner join closings
    on beginnings.source_relation = closings.source_relation
      and beginnings.deal_id = closings.deal_id
      and closings.place = 0
  left join own on beginnings.source_relation = own.source_relation
  union all
  select
    instants.source_relation,
    instants.deal_id,
    instants.event_at,
    moves.new_value as stage_id,
    moves.old_value as from_stage_id,
    case when instants.stage_changes = 1 and moves.last_of_instant = 1 then instants.pipeline_id end as pipeline_id,
    case when own.amount is null then {{ try_type('instants.amount', 'decimal(20, 3)') }} end as amount_native,
    instants.currency,
    case when instants.status is not null or instants.expected_close_date is not null then closings.close_date end as close_date,
    instants.owner_id,
    instants.status,
    instants.changed_by,
    instants.bulk_flag,
    instants.extracted_at,
    instants.initial_flag
  from instants
  inner join closings
    on instants.source_relation = closings.source_relation
      and instants.deal_id = closings.deal_id
      and instants.event_at = closings.event_at
      and instants.extracted_at = closings.extracted_at
      and closings.place = 1
  left join placed as moves
    on instants.source_relation = moves.source_relation
      and instants.deal_id = moves.deal_id
      and instants.event_at = moves.event_at
      and instants.extracted_at = moves.extracted_at
      and moves.field = 'stage_id'
  left join own on instants.source_relation = own.source_relation
),

final as (
  select
    source_relation,
    deal_id,
    event_at,
    stage_id,
    from_stage_id,
    pipeline_id,
    cast(null as {{ dbt.type_string() }}) as from_pipeline_id,
    amount_native,
    upper(currency) as currency,
    close_date,
    owner_id,
    status,
    cast(null as {{ dbt.type_string() }}) as forecast_category,
    cast(null as double) as probability,
    cast(null as bigint) as sequence_number,
    cast(null as {{ dbt.type_string() }}) as source_event_id,
    changed_by,
    'history' as change_source,
    'event' as time_precision,
    bulk_flag = 1 as is_bulk_flagged,
    extracted_at,
    initial_flag = 1 as is_initial_load
  from events
  where event_at is not null
)

select * from final
