-- What the evidence of every month's end says of the cells of the open book, step by step.
with final as (
  {{ open_cell_hazards(ref('int_open_cells'), ref('int_hazard_cell')) }}
)

select
  evidence_number,
  cast(step_number as int) as step_number,
  cast(win_tier as double) as win_tier,
  cast(loss_tier as double) as loss_tier
from final
