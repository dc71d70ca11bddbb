-- The newest delivery of each id; an id that is delivered no more keeps its last known row.
with delivered as (
  {{ delivered_owners() }}
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
