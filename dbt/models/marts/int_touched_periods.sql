-- Periods in which the rows of every deal are replaced: those in which as_of has moved, and revised ones.
with told as (
  select item as period, digest
  from {{ ref('int_marts_inputs') }}
  where input = 'period'
),

applied as (
  select item as period, digest
  from ({{ applied_inputs() }})
  where input = 'period'
),

final as (
  select coalesce(told.period, applied.period) as period
  from told
  full outer join applied on told.period = applied.period
  where not coalesce(told.digest = applied.digest, false)
    or exists (select 1 from {{ ref('int_marts_rebuild') }})
)

select * from final
