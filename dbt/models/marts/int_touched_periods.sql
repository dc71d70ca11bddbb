-- Periods in which the rows of every deal are replaced: those in which as_of has moved, and revised ones.
with final as (
  {{ touched_items('period', ref('int_marts_inputs'), 'period') }}
)

select * from final
