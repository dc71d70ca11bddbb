-- Each finer hazard is drawn towards the coarser one with the weight of a few deals: overall, stage, time in stage, size.
-- A step counts when it is over: what a day may use is what was completed by the month's end before it.
{%- set week_start = '(select week_start from ' ~ ref('stg_run_context') ~ ')' %}
{%- set prior = prior_deals() %}
{#- fifths of the time that won deals spend in a stage, and the ends at 95 % and 99.5 % for zombies #}
{%- set time_quantiles = [0.2, 0.4, 0.6, 0.8, 0.95, 0.995] %}
with steps as (
  {{ hazard_steps() }}
),

context as (
  select as_of from {{ ref('stg_run_context') }}
),

months as (
  select evidence_on from {{ ref('int_amount_tiers') }}
),

-- the first month's end by which a week is over
week_months as (
  select
    {{ business_week('dates.date_day', week_start) }} as week_number,
    dates.month_end_on as evidence_on
  from {{ ref('dim_date') }} as dates
  cross join context
  where dates.date_day = dates.week_end_on
    and dates.month_end_on <= context.as_of
),

-- what is counted by week, step and cell is joined and summed by numbers: their texts took a third of this model's time
stage_numbers as (
  select
    stage_key,
    cast(row_number() over (order by stage_key) as int) as stage_number
  from {{ ref('dim_stage') }}
),

counted as (
  select
    histogram.week_number,
    stage_numbers.stage_number,
    histogram.weeks_class,
    histogram.amount_tier,
    histogram.weeks_followed,
    case histogram.outcome when 'open' then 0 when 'won' then 1 else 2 end as outcome,
    histogram.deals,
    histogram.deals_entering
  from {{ ref('int_hazard_histogram') }} as histogram
  inner join stage_numbers on histogram.stage_key = stage_numbers.stage_key
),

completed as (
  select
    week_months.evidence_on,
    counted.stage_number,
    counted.weeks_class,
    counted.amount_tier,
    steps.step_number,
    cast(sum(counted.deals) as bigint) as at_risk,
    cast(sum(case when counted.outcome = 1 and counted.weeks_followed <= steps.to_week then counted.deals else 0 end) as bigint) as won,
    cast(sum(case when counted.outcome = 2 and counted.weeks_followed <= steps.to_week then counted.deals else 0 end) as bigint) as lost,
    cast(sum(case when steps.step_number = 1 then counted.deals_entering else 0 end) as bigint) as entering
  from counted
  inner join steps
    on counted.weeks_followed > steps.from_week
      and (counted.outcome <> 0 or counted.weeks_followed >= steps.to_week)
  inner join week_months on counted.week_number + steps.to_week = week_months.week_number
  group by week_months.evidence_on, counted.stage_number, counted.weeks_class, counted.amount_tier, steps.step_number
),

begun as (
  select
    stage_number,
    weeks_class,
    amount_tier,
    step_number,
    min(evidence_on) as first_on
  from completed
  group by stage_number, weeks_class, amount_tier, step_number
),

-- all that was completed by each month's end: running sums, where a join of every month with all before it is ten times as much
known as (
  select
    months.evidence_on,
    begun.stage_number,
    begun.weeks_class,
    begun.amount_tier,
    begun.step_number,
    sum(coalesce(completed.at_risk, 0)) over so_far as at_risk,
    sum(coalesce(completed.won, 0)) over so_far as won,
    sum(coalesce(completed.lost, 0)) over so_far as lost,
    sum(coalesce(completed.entering, 0)) over so_far as entering
  from begun
  inner join months on begun.first_on <= months.evidence_on
  left join completed
    on months.evidence_on = completed.evidence_on
      and begun.stage_number = completed.stage_number
      and begun.weeks_class = completed.weeks_class
      and begun.amount_tier = completed.amount_tier
      and begun.step_number = completed.step_number
  window so_far as (
    partition by begun.stage_number, begun.weeks_class, begun.amount_tier, begun.step_number
    order by months.evidence_on
    rows between unbounded preceding and current row
  )
),

-- how the weeks that won deals spent in a stage are spread, as known at each month's end
won_weeks as (
  select
    evidence_on,
    stage_number,
    weeks_class,
    sum(won) as won
  from known
  group by evidence_on, stage_number, weeks_class
),

shares as (
  select
    *,
    coalesce(sum(case when weeks_class >= 0 then won end) over earlier, 0) as won_before,
    sum(case when weeks_class >= 0 then won else 0 end) over whole as won_in_stage
  from won_weeks
  window earlier as (
    partition by evidence_on, stage_number
    order by weeks_class
    rows between unbounded preceding and 1 preceding
  ),
  whole as (partition by evidence_on, stage_number)
),

classes as (
  select
    evidence_on,
    stage_number,
    weeks_class,
    case
      when weeks_class < 0 then -1
      when won_in_stage = 0 then 0
      else 0
      {%- for share in time_quantiles %}
        + case when won_before >= {{ share }}e0 * won_in_stage then 1 else 0 end
      {%- endfor %}
    end as time_bin
  from shares
),

bins as (
  select
    *,
    min(weeks_class) over (partition by evidence_on, stage_number, time_bin) as from_week_in_stage
  from classes
),

summed as (
  select
    bins.evidence_on,
    bins.stage_number,
    bins.time_bin,
    bins.from_week_in_stage,
    known.amount_tier,
    known.step_number,
    sum(known.at_risk) as at_risk,
    sum(known.won) as won,
    sum(known.lost) as lost,
    sum(case when bins.weeks_class = bins.from_week_in_stage then known.entering else 0 end) as entering,
    sum(case when bins.weeks_class in (-1, 0) then known.entering else 0 end) as entering_stage
  from bins
  inner join known
    on known.evidence_on = bins.evidence_on
      and known.stage_number = bins.stage_number
      and known.weeks_class = bins.weeks_class
  group by
    bins.evidence_on, bins.stage_number, bins.time_bin, bins.from_week_in_stage, known.amount_tier, known.step_number
),

seen_cells as (
  select distinct
    evidence_on,
    stage_number,
    time_bin,
    from_week_in_stage,
    amount_tier
  from summed
),

-- every cell has every step: where no deal has come so far, what is known of the cell's other steps still holds
tier_rows as (
  select
    cells.evidence_on, cells.stage_number, cells.time_bin, cells.from_week_in_stage, cells.amount_tier, steps.step_number,
    coalesce(summed.at_risk, 0) as at_risk, coalesce(summed.won, 0) as won, coalesce(summed.lost, 0) as lost,
    coalesce(summed.entering, 0) as entering, coalesce(summed.entering_stage, 0) as entering_stage
  from seen_cells as cells
  cross join steps
  left join summed
    on cells.evidence_on = summed.evidence_on
      and cells.stage_number = summed.stage_number
      and cells.time_bin = summed.time_bin
      and cells.amount_tier = summed.amount_tier
      and steps.step_number = summed.step_number
),

time_rows as (
  select
    evidence_on, stage_number, time_bin, from_week_in_stage, step_number,
    sum(at_risk) as at_risk, sum(won) as won, sum(lost) as lost, sum(entering) as entering,
    sum(entering_stage) as entering_stage
  from tier_rows
  group by evidence_on, stage_number, time_bin, from_week_in_stage, step_number
),

stage_rows as (
  select
    evidence_on, stage_number, step_number,
    sum(at_risk) as at_risk, sum(won) as won, sum(lost) as lost, sum(entering_stage) as entering
  from time_rows
  group by evidence_on, stage_number, step_number
),

overall as (
  select
    stage_rows.evidence_on,
    stage_rows.step_number,
    steps.to_week - steps.from_week as weeks,
    sum(stage_rows.at_risk) as at_risk,
    sum(stage_rows.won) as won,
    sum(stage_rows.lost) as lost,
    sum(stage_rows.entering) as entering
  from stage_rows
  inner join steps on stage_rows.step_number = steps.step_number
  group by stage_rows.evidence_on, stage_rows.step_number, steps.to_week - steps.from_week
),

-- the hazard of any week, for steps that no deal has completed yet
any_week as (
  select
    evidence_on,
    cast(sum(won) as double) / cast(sum(at_risk * weeks) as double) as win_hazard,
    cast(sum(lost) as double) / cast(sum(at_risk * weeks) as double) as loss_hazard
  from overall
  group by evidence_on
  having sum(at_risk) > 0
),

overall_hazards as (
  select
    overall.*,
    (overall.won + {{ prior }} * least(any_week.win_hazard * overall.weeks, 0.5e0)) / (overall.at_risk + {{ prior }}) as win_hazard,
    (overall.lost + {{ prior }} * least(any_week.loss_hazard * overall.weeks, 0.5e0)) / (overall.at_risk + {{ prior }}) as loss_hazard
  from overall
  inner join any_week on overall.evidence_on = any_week.evidence_on
),

{{ finer_hazards('stage', ['stage_number'], 'overall_hazards', [], [], ['stage_number']) }},

{{ finer_hazards('time', ['stage_number', 'time_bin', 'from_week_in_stage'], 'stage_hazards', ['stage_number'], ['time_bin'], ['stage_number', 'time_bin']) }},

{{ finer_hazards(
  'tier', ['stage_number', 'time_bin', 'from_week_in_stage', 'amount_tier'], 'time_hazards', ['stage_number', 'time_bin'],
  ['amount_tier'], ['stage_number', 'amount_tier']
) }},

every_level as (
  select
    evidence_on, 'overall' as cell_level, cast(null as int) as stage_number, -2 as time_bin, -2 as from_week_in_stage, -1 as amount_tier,
    step_number, at_risk, won, lost, entering, win_hazard, loss_hazard
  from overall_hazards
  union all
  select
    evidence_on, 'stage' as cell_level, stage_number, -2 as time_bin, -2 as from_week_in_stage, -1 as amount_tier,
    step_number, at_risk, won, lost, entering, win_hazard, loss_hazard
  from stage_hazards
  union all
  select
    evidence_on, 'time' as cell_level, stage_number, time_bin, from_week_in_stage, -1 as amount_tier,
    step_number, at_risk, won, lost, entering, win_hazard, loss_hazard
  from time_hazards
  union all
  select
    evidence_on, 'tier' as cell_level, stage_number, time_bin, from_week_in_stage, amount_tier,
    step_number, at_risk, won, lost, entering, win_hazard, loss_hazard
  from tier_hazards
),

final as (
  select
    every_level.evidence_on,
    every_level.cell_level,
    coalesce(stage_numbers.stage_key, '(all)') as stage_key,
    cast(every_level.time_bin as int) as time_bin,
    cast(every_level.from_week_in_stage as int) as from_week_in_stage,
    cast(every_level.amount_tier as int) as amount_tier,
    cast(every_level.step_number as int) as step_number,
    cast(every_level.at_risk as bigint) as at_risk,
    cast(every_level.won as bigint) as won,
    cast(every_level.lost as bigint) as lost,
    cast(every_level.entering as bigint) as deals_entering,
    cast(every_level.win_hazard as double) as win_hazard,
    cast(every_level.loss_hazard as double) as loss_hazard
  from every_level
  left join stage_numbers on every_level.stage_number = stage_numbers.stage_number
)

select * from final
