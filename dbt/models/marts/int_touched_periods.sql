-- Periods in which the rows of every deal are replaced: those in which as_of has moved, and revised ones.
with final as (
  select items.item as period
  from ({{ touched_items('period', ref('int_marts_inputs'), ref('int_marts_rebuild')) }}) as items
)

select * from final
