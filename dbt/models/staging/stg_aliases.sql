with rows_landed as (
  {{ landed_newest('aliases', ['entity', 'alias', 'name']) }}
),

final as (
  select distinct
    rows_landed.source_relation,
    rows_landed.p.entity as entity,
    rows_landed.p.alias as alias,
    rows_landed.p.name as canonical_name
  from rows_landed
)

select * from final
