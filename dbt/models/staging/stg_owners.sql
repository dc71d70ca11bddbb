-- The newest delivery of each id; an id that is delivered no more keeps its last known row.
with rows_landed as (
  {{ landed('owners', ['owner_id', 'name', 'email', 'team', 'manager', 'region', 'started_on', 'ended_on', 'is_active', 'row']) }}
),

ranked as (
  select
    *,
    row_number() over (
      partition by source_relation, p.owner_id
      order by extracted_at desc, batch_id desc, {{ try_type('p.row', 'bigint') }} desc
    ) as newest_first
  from rows_landed
  where p.owner_id is not null
),

final as (
  select
    rows_landed.source_relation,
    rows_landed.p.owner_id as owner_id,
    rows_landed.p.name as owner_name,
    rows_landed.p.email as email,
    rows_landed.p.team as team,
    rows_landed.p.manager as manager,
    rows_landed.p.region as region,
    {{ try_type('rows_landed.p.started_on', 'date') }} as started_on,
    {{ try_type('rows_landed.p.ended_on', 'date') }} as ended_on,
    {{ try_type('rows_landed.p.is_active', 'boolean') }} as is_active
  from ranked as rows_landed
  where rows_landed.newest_first = 1
)

select * from final
