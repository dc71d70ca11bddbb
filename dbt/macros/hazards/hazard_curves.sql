{# How likely a cell of the open book is to be won by the end of a quarter. Relations are names of tables or of CTEs. #}

{# One row per day asked about: as_of, evidence_on, quarter_number. #}
{% macro days_asked(dates, condition) -%}
select
  asked.date_day as as_of,
  {{ evidence_day('asked') }} as evidence_on,
  asked.quarter_index as quarter_number
from {{ dates }} as asked
where {{ condition }}
{%- endmacro %}

{# How much of a week's hazard falls on each step and quarter after a day. A quarter's end inside a step cuts it by
   business days; wins follow the index of the weeks of the quarter. Offset 5 is whatever comes after the fourth. #}
{% macro hazard_exposures(days, dates, calendar_index) -%}
with steps as (
  {{ hazard_steps() }}
),

ahead as (
  select
    days.as_of,
    cast(floor(({{ days_between('days.as_of', 'dates.date_day') }} - 1) / 7.0e0) as int) + 1 as week_ahead,
    least(dates.quarter_index - days.quarter_number, 5) as quarter_offset,
    case when dates.is_business_day then 1e0 else 0e0 end as business_day,
    coalesce(calendar_index.win_index, 1e0) as win_index
  from {{ days }} as days
  inner join {{ dates }} as dates
    on days.as_of < dates.date_day
      and dates.date_day <= {{ add_days('days.as_of', '7 * ' ~ last_step_week()) }}
  left join {{ calendar_index }} as calendar_index
    on days.evidence_on = calendar_index.evidence_on
      and {{ week_of_quarter('dates.day_of_quarter') }} = calendar_index.week_of_quarter
),

pace as (
  select
    as_of,
    7e0 * sum(business_day) / count(*) as business_days_a_week
  from ahead
  group by as_of
)

select
  ahead.as_of,
  steps.step_number,
  ahead.week_ahead,
  ahead.quarter_offset,
  sum(ahead.business_day * ahead.win_index) / max(pace.business_days_a_week * (steps.to_week - steps.from_week)) as win_exposure,
  sum(ahead.business_day) / max(pace.business_days_a_week * (steps.to_week - steps.from_week)) as plain_exposure,
  sum(ahead.business_day) as business_days
from ahead
inner join steps
  on ahead.week_ahead > steps.from_week
    and ahead.week_ahead <= steps.to_week
inner join pace on ahead.as_of = pace.as_of
group by ahead.as_of, steps.step_number, ahead.week_ahead, ahead.quarter_offset
{%- endmacro %}

{# Numbers for the cells of the open book and for those of their evidence, of which one serves several days: what is
   joined by them has a row per step, and should be narrow. #}
{% macro numbered_cells(book) -%}
select
  book.*,
  row_number() over (order by book.as_of, book.stage_key, book.time_bin, book.amount_tier) as cell_number,
  dense_rank() over (order by book.evidence_on, book.stage_key, book.time_bin, book.amount_tier) as evidence_number
from {{ book }} as book
{%- endmacro %}

{# The hazards of every step for the evidence of the open book, each from the finest cell that there is; for reasons
   those of the coarser cells too. cells: numbered_cells. #}
{% macro open_cell_hazards(cells, hazards, with_reasons=false) -%}
with evidence as (
  select distinct
    evidence_number,
    evidence_on,
    stage_key,
    time_bin,
    amount_tier
  from {{ cells }}
)

select
  evidence.evidence_number,
  overall.step_number,
  {%- if with_reasons %}
  overall.win_hazard as win_overall,
  overall.loss_hazard as loss_overall,
  coalesce(of_stage.win_hazard, overall.win_hazard) as win_stage,
  coalesce(of_stage.loss_hazard, overall.loss_hazard) as loss_stage,
  coalesce(of_time.win_hazard, of_stage.win_hazard, overall.win_hazard) as win_time,
  coalesce(of_time.loss_hazard, of_stage.loss_hazard, overall.loss_hazard) as loss_time,
  {%- endif %}
  coalesce(of_tier.win_hazard, of_time.win_hazard, of_stage.win_hazard, overall.win_hazard) as win_tier,
  coalesce(of_tier.loss_hazard, of_time.loss_hazard, of_stage.loss_hazard, overall.loss_hazard) as loss_tier
from evidence
inner join {{ hazards }} as overall
  on evidence.evidence_on = overall.evidence_on
    and overall.cell_level = 'overall'
left join {{ hazards }} as of_stage
  on overall.evidence_on = of_stage.evidence_on
    and overall.step_number = of_stage.step_number
    and evidence.stage_key = of_stage.stage_key
    and of_stage.cell_level = 'stage'
left join {{ hazards }} as of_time
  on overall.evidence_on = of_time.evidence_on
    and overall.step_number = of_time.step_number
    and evidence.stage_key = of_time.stage_key
    and evidence.time_bin = of_time.time_bin
    and of_time.cell_level = 'time'
left join {{ hazards }} as of_tier
  on overall.evidence_on = of_tier.evidence_on
    and overall.step_number = of_tier.step_number
    and evidence.stage_key = of_tier.stage_key
    and evidence.time_bin = of_tier.time_bin
    and evidence.amount_tier = of_tier.amount_tier
    and of_tier.cell_level = 'tier'
{%- endmacro %}

{# Cumulative incidence of winning (Aalen and Johansen: losing competes) for cells of the open book; the product of
   what stays open is exp(sum(ln)). One row per day and cell: p_<series>_<offset> = P(won by the end of that quarter),
   p_<series>_ever = within 105 weeks, p_win_week = within the first. Series: win, and for reasons each level without the
   calendar. cells: numbered_cells; hazards: open_cell_hazards, with reasons where they are asked for. #}
{% macro win_curves(exposures, cells, hazards, with_reasons=false) -%}
{%- set series = ['win'] + (['overall', 'stage', 'time', 'tier'] if with_reasons else []) %}
with exposed as (
  select
    as_of,
    step_number,
    quarter_offset,
    sum(win_exposure) as win_exposure,
    sum(plain_exposure) as plain_exposure
  from {{ exposures }}
  group by as_of, step_number, quarter_offset
),

chained as (
  select
    cells.cell_number,
    exposed.quarter_offset,
    exposed.win_exposure,
    exposed.plain_exposure,
    hazards.*
  from {{ cells }} as cells
  inner join exposed on cells.as_of = exposed.as_of
  inner join {{ hazards }} as hazards
    on cells.evidence_number = hazards.evidence_number
      and exposed.step_number = hazards.step_number
),

-- a step's chances: never more than all of what is open
chances as (
  select
    *,
    least(win_tier * win_exposure, 0.9e0) as step_win_win,
    least(loss_tier * plain_exposure, 0.95e0 - least(win_tier * win_exposure, 0.9e0)) as step_loss_win
    {%- for level in series if level != 'win' %},
    least(win_{{ level }} * plain_exposure, 0.9e0) as step_win_{{ level }},
    least(loss_{{ level }} * plain_exposure, 0.95e0 - least(win_{{ level }} * plain_exposure, 0.9e0)) as step_loss_{{ level }}
    {%- endfor %}
  from chained
),

won as (
  select
    cell_number,
    step_number,
    quarter_offset
    {%- for level in series %},
    step_win_{{ level }} * exp(coalesce(sum(ln(1e0 - step_win_{{ level }} - step_loss_{{ level }})) over before, 0e0)) as won_{{ level }}
    {%- endfor %}
  from chances
  window before as (
    partition by cell_number
    order by step_number, quarter_offset
    rows between unbounded preceding and 1 preceding
  )
),

by_cell as (
  select
    cell_number
    {%- for level in series %}
    {%- for offset in range(5) %},
    sum(case when quarter_offset <= {{ offset }} then won_{{ level }} else 0e0 end) as p_{{ level }}_{{ offset }}
    {%- endfor %},
    sum(won_{{ level }}) as p_{{ level }}_ever
    {%- endfor %},
    sum(case when step_number = 1 then won_win else 0e0 end) as p_win_week
  from won
  group by cell_number
)

select
  cells.as_of,
  cells.stage_key,
  cells.time_bin,
  cells.amount_tier
  {%- for level in series %}
  {%- for offset in range(5) %},
  by_cell.p_{{ level }}_{{ offset }}
  {%- endfor %},
  by_cell.p_{{ level }}_ever
  {%- endfor %},
  by_cell.p_win_week
from {{ cells }} as cells
inner join by_cell on cells.cell_number = by_cell.cell_number
{%- endmacro %}
