-- Deals whose rows in the marts are replaced in every period.
with final as (
  select items.item as deal_key
  from ({{ touched_items('deal', ref('int_marts_inputs'), ref('int_marts_rebuild')) }}) as items
)

select * from final
