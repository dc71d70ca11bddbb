-- One export is a record, not a series: only sources with two days or more have snapshots to compare.
with files as (
  select * from {{ ref('stg_snapshots') }}
),

days as (
  select
    source_relation,
    snapshot_on,
    min(extracted_at) as extracted_at,
    max(case when is_initial_load then 1 else 0 end) = 1 as is_initial_load
  from files
  group by source_relation, snapshot_on
),

numbered as (
  select
    *,
    cast(row_number() over (partition by source_relation order by snapshot_on) as int) as snapshot_number,
    lag(snapshot_on) over (partition by source_relation order by snapshot_on) as previous_on,
    cast(count(*) over (partition by source_relation) as int) as snapshots
  from days
),

final as (
  select
    source_relation,
    snapshot_number,
    snapshot_on,
    previous_on,
    extracted_at,
    is_initial_load
  from numbered
  where snapshots > 1
)

select * from final
