-- A refused row is no absence: its deal was in the file.
with rows_landed as (
  {{ landed('rejects', ['entity', 'sha256', 'key']) }}
),

final as (
  select distinct
    source_relation,
    p.sha256 as sha256,
    p.key as deal_id
  from rows_landed
  where p.entity = 'deals' and p.sha256 is not null
)

select * from final
