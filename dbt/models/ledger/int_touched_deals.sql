{{ config(post_hook='{{ forget_applied() }}') }}
-- Deals whose inputs differ from the applied ones, deals that are gone, and all of them where there is a reason to rebuild.
with told as (
  select item as deal_key, digest
  from {{ ref('int_ledger_inputs') }}
  where input = 'deal'
),

applied as (
  select item as deal_key, digest
  from ({{ applied_inputs() }})
  where input = 'deal'
),

touched as (
  select coalesce(told.deal_key, applied.deal_key) as deal_key
  from told
  full outer join applied on told.deal_key = applied.deal_key
  where not coalesce(told.digest = applied.digest, false)
    or exists (select 1 from {{ ref('int_ledger_rebuild') }})
),

final as (
  select
    {{ number_of_key('deal_key') }} as deal_sk,
    deal_key
  from touched
)

select * from final
