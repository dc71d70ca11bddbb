-- Which deals files stand for which day. The same bytes may stand for several days; of a file delivered twice for one
-- day the newer counts. A file without a date in its name stands until a newer one of its name comes.
with reads as (
  {{ landed('reads', ['entity', 'file', 'sha256', 'snapshot_on', 'snapshot_basis']) }}
),

typed as (
  select
    source_relation,
    {{ try_type('p.snapshot_on', 'date') }} as snapshot_on,
    p.file as file_name,
    p.sha256 as sha256,
    p.snapshot_basis as snapshot_basis,
    extracted_at,
    is_initial_load
  from reads
  where p.entity = 'deals'
),

ranked as (
  select
    *,
    row_number() over (
      partition by source_relation, snapshot_on, file_name
      order by extracted_at desc, sha256 asc
    ) as newest_first
  from typed
  where snapshot_on is not null
),

final as (
  select
    source_relation,
    snapshot_on,
    file_name,
    sha256,
    case
      when snapshot_basis = 'file_name' then {{ add_days('snapshot_on', 1) }}
      else lead(snapshot_on) over (partition by source_relation, file_name, snapshot_basis order by snapshot_on)
    end as stands_until_on,
    extracted_at,
    is_initial_load
  from ranked
  where newest_first = 1
)

select * from final
