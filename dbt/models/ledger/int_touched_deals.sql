{{ config(post_hook='{{ forget_applied() }}') }}
-- Deals whose inputs differ from the applied ones, deals that are gone, and all of them where there is a reason to rebuild.
with touched as (
  select items.item as deal_key
  from ({{ touched_items('deal', ref('int_ledger_inputs'), ref('int_ledger_rebuild')) }}) as items
),

final as (
  select
    {{ number_of_key('deal_key') }} as deal_sk,
    deal_key
  from touched
)

select * from final
