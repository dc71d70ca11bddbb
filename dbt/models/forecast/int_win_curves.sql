-- How likely each cell of the open book was to be won by the ends of five quarters, by the evidence of that day.
with curves as (
  {{ win_curves(ref('int_hazard_exposures'), ref('int_open_cells'), ref('int_open_cell_hazards')) }}
),

final as (
  select
    cells.as_of,
    cells.evidence_on,
    cells.stage_key,
    cells.time_bin,
    cells.amount_tier,
    cells.deals,
    cells.priced_deals,
    cells.open_amount,
    {%- for offset in range(5) %}
    cast(curves.p_win_{{ offset }} as double) as p_win_{{ offset }},
    {%- endfor %}
    cast(curves.p_win_ever as double) as p_win_ever,
    cast(curves.p_win_week as double) as p_win_week,
    cells.won_next_week
  from {{ ref('int_open_cells') }} as cells
  inner join curves
    on cells.as_of = curves.as_of
      and cells.stage_key = curves.stage_key
      and cells.time_bin = curves.time_bin
      and cells.amount_tier = curves.amount_tier
)

select * from final
