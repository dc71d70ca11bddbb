-- Deals whose rows in the marts are replaced in every period.
with told as (
  select item as deal_key, digest
  from {{ ref('int_marts_inputs') }}
  where input = 'deal'
),

applied as (
  select item as deal_key, digest
  from ({{ applied_inputs() }})
  where input = 'deal'
),

final as (
  select coalesce(told.deal_key, applied.deal_key) as deal_key
  from told
  full outer join applied on told.deal_key = applied.deal_key
  where not coalesce(told.digest = applied.digest, false)
    or exists (select 1 from {{ ref('int_marts_rebuild') }})
)

select * from final
