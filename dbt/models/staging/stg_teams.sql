with rows_landed as (
  {{ landed_newest('teams', ['team', 'manager', 'region']) }}
),

final as (
  select distinct
    rows_landed.source_relation,
    rows_landed.p.team as team,
    rows_landed.p.manager as manager,
    rows_landed.p.region as region
  from rows_landed
)

select * from final
