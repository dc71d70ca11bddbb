-- Of all snapshots, the rows that say something new: a deal's first and last sighting, other values, a gap before it.
with days as (
  select * from {{ ref('int_snapshot_days') }}
),

ranked as (
  select
    days.snapshot_number,
    days.previous_on,
    sightings.*,
    row_number() over (
      partition by sightings.source_relation, sightings.deal_id, days.snapshot_number
      order by
        case when sightings.is_readable then 0 else 1 end,
        sightings.modified_at desc nulls last,
        sightings.extracted_at desc,
        sightings.sha256,
        sightings.stage_id nulls last,
        sightings.status nulls last,
        sightings.amount_native nulls last,
        sightings.close_date nulls last,
        sightings.owner_id nulls last
    ) as newest_first
  from {{ ref('stg_deal_sightings') }} as sightings
  inner join days
    on sightings.source_relation = days.source_relation
      and sightings.snapshot_on = days.snapshot_on
  where sightings.deal_id is not null
),

sighted as (
  select
    *,
    case when is_readable then {{ packed([
      'pipeline_id', 'stage_id', 'status', 'amount_native', 'currency', 'close_date', 'owner_id', 'forecast_category', 'probability'
    ]) }} end as told_values
  from ranked
  where newest_first = 1
),

compared as (
  select
    *,
    lag(snapshot_number) over deal_line as seen_before_number,
    lag(snapshot_on) over deal_line as seen_before_on,
    max(snapshot_number) over (partition by source_relation, deal_id) as last_seen_number,
    {{ carried('told_values', 'deal_before') }} as values_before
  from sighted
  window
    deal_line as (partition by source_relation, deal_id order by snapshot_number),
    deal_before as (
      partition by source_relation, deal_id
      order by snapshot_number
      rows between unbounded preceding and 1 preceding
    )
),

final as (
  select
    source_relation,
    deal_id,
    snapshot_number,
    snapshot_on,
    previous_on,
    seen_before_number,
    seen_before_on,
    last_seen_number,
    is_readable and values_before is null as is_first,
    is_readable and {{ is_different('values_before', 'told_values') }} as is_change,
    extracted_at,
    is_initial_load,
    pipeline_id,
    stage_id,
    status,
    amount_native,
    currency,
    close_date,
    owner_id,
    forecast_category,
    probability,
    created_at,
    closed_at
  from compared
  where (is_readable and {{ is_different('values_before', 'told_values') }})
    or seen_before_number is null
    or seen_before_number < snapshot_number - 1
    or snapshot_number = last_seen_number
)

select * from final
