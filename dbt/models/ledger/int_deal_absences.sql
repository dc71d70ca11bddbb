-- A deal that is missing from a snapshot is gone from that day on, unless the snapshot is not whole: more than one
-- deal in twenty (and more than one deal) gone at once, or refused rows that do not say which deal they are. Then the
-- deals stay until a snapshot that brings the others back shows who is still missing.
with days as (
  select * from {{ ref('int_snapshot_days') }}
),

changes as (
  select * from {{ ref('int_snapshot_changes') }}
),

last_days as (
  select
    source_relation,
    max(snapshot_number) as last_number
  from days
  group by source_relation
),

spells as (
  select
    source_relation,
    deal_id,
    seen_before_number + 1 as missing_from_number,
    snapshot_number as returned_number
  from changes
  where seen_before_number < snapshot_number - 1
  union all
  select
    changes.source_relation,
    changes.deal_id,
    changes.last_seen_number + 1 as missing_from_number,
    null as returned_number
  from changes
  inner join last_days on changes.source_relation = last_days.source_relation
  where changes.snapshot_number = changes.last_seen_number
    and changes.last_seen_number < last_days.last_number
),

-- how many deals each snapshot shows, out of comings and goings
comings as (
  select source_relation, snapshot_number, count(*) as deals
  from changes
  where seen_before_number is null
  group by source_relation, snapshot_number
  union all
  select source_relation, missing_from_number as snapshot_number, -count(*) as deals
  from spells
  group by source_relation, missing_from_number
  union all
  select source_relation, returned_number as snapshot_number, count(*) as deals
  from spells
  where returned_number is not null
  group by source_relation, returned_number
),

counted as (
  select
    days.source_relation,
    days.snapshot_number,
    sum(coalesce(comings.deals, 0)) as deals
  from days
  left join comings
    on days.source_relation = comings.source_relation
      and days.snapshot_number = comings.snapshot_number
  group by days.source_relation, days.snapshot_number
),

shown as (
  select
    source_relation,
    snapshot_number,
    sum(deals) over (partition by source_relation order by snapshot_number) as deals_shown
  from counted
),

unreadable_days as (
  select
    sightings.source_relation,
    sightings.snapshot_on
  from {{ ref('stg_deal_sightings') }} as sightings
  inner join days
    on sightings.source_relation = days.source_relation
      and sightings.snapshot_on = days.snapshot_on
  where not sightings.is_readable and sightings.deal_id is null
  group by sightings.source_relation, sightings.snapshot_on
),

groups as (
  select
    source_relation,
    missing_from_number,
    returned_number,
    count(*) as deals
  from spells
  group by source_relation, missing_from_number, returned_number
),

-- of the deals missing since one snapshot, how many are missing still in each later one
still_missing as (
  select
    groups.source_relation,
    groups.missing_from_number,
    days.snapshot_number,
    sum(case when groups.returned_number is null or groups.returned_number > days.snapshot_number then groups.deals else 0 end) as deals
  from groups
  inner join days
    on groups.source_relation = days.source_relation
      and groups.missing_from_number <= days.snapshot_number
  group by groups.source_relation, groups.missing_from_number, days.snapshot_number
),

believed as (
  select
    still_missing.source_relation,
    still_missing.missing_from_number,
    min(still_missing.snapshot_number) as believed_number
  from still_missing
  inner join shown
    on still_missing.source_relation = shown.source_relation
      and still_missing.missing_from_number = shown.snapshot_number + 1
  inner join days
    on still_missing.source_relation = days.source_relation
      and still_missing.snapshot_number = days.snapshot_number
  left join unreadable_days
    on days.source_relation = unreadable_days.source_relation
      and days.snapshot_on = unreadable_days.snapshot_on
  where (still_missing.deals <= 1 or still_missing.deals * 20 <= shown.deals_shown)
    and unreadable_days.snapshot_on is null
  group by still_missing.source_relation, still_missing.missing_from_number
),

final as (
  select
    spells.source_relation,
    spells.deal_id,
    missing.snapshot_on as missing_from_on,
    case when spells.returned_number is null or spells.returned_number > believed.believed_number then removals.snapshot_on end as removed_on,
    returns.snapshot_on as returned_on,
    case when spells.returned_number is null or spells.returned_number > believed.believed_number then removals.extracted_at end as removal_extracted_at,
    returns.extracted_at as return_extracted_at,
    coalesce(removals.is_initial_load, false) as is_removal_of_initial_load,
    coalesce(returns.is_initial_load, false) as is_return_of_initial_load
  from spells
  inner join days as missing
    on spells.source_relation = missing.source_relation
      and spells.missing_from_number = missing.snapshot_number
  left join believed
    on spells.source_relation = believed.source_relation
      and spells.missing_from_number = believed.missing_from_number
  left join days as removals
    on believed.source_relation = removals.source_relation
      and believed.believed_number = removals.snapshot_number
  left join days as returns
    on spells.source_relation = returns.source_relation
      and spells.returned_number = returns.snapshot_number
)

select * from final
