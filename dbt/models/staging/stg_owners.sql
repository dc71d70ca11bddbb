-- The newest delivery of each id; an id that is delivered no more keeps its last known row.
with delivered as (
  select
    source_relation,
    extracted_at,
    batch_id,
    {{ try_type('p.row', 'bigint') }} as delivery_order,
    p.owner_id as owner_id,
    p.name as owner_name,
    p.email as email,
    p.team as team,
    p.manager as manager,
    p.region as region,
    {{ try_type('p.started_on', 'date') }} as started_on,
    {{ try_type('p.ended_on', 'date') }} as ended_on,
    {{ try_type('p.is_active', 'boolean') }} as is_active
  from ({{ landed('owners', ['owner_id', 'name', 'email', 'team', 'manager', 'region', 'started_on', 'ended_on', 'is_active', 'row']) }}) as rows_landed
  {{ union_vendors('owners', ['source_relation', 'extracted_at', 'batch_id', 'delivery_order', 'owner_id', 'owner_name', 'email', 'team', 'manager', 'region', 'started_on', 'ended_on', 'is_active']) }}
),

ranked as (
  select
    *,
    row_number() over (
      partition by source_relation, owner_id
      order by extracted_at desc, batch_id desc, delivery_order desc
    ) as newest_first
  from delivered
  where owner_id is not null
),

final as (
  select
    source_relation,
    owner_id,
    owner_name,
    email,
    team,
    manager,
    region,
    started_on,
    ended_on,
    is_active
  from ranked
  where newest_first = 1
)

select * from final
