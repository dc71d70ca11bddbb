-- Deals whose rows in the marts are replaced in every period.
with final as (
  {{ touched_items('deal', ref('int_marts_inputs'), 'deal_key') }}
)

select * from final
