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

completed as (
  select
    week_months.evidence_on,
    histogram.stage_key,
    histogram.weeks_class,
    histogram.amount_tier,
    steps.step_number,
    sum(histogram.deals) as at_risk,
    sum(case when histogram.outcome = 'won' and histogram.weeks_followed <= steps.to_week then histogram.deals else 0 end) as won,
    sum(case when histogram.outcome = 'lost' and histogram.weeks_followed <= steps.to_week then histogram.deals else 0 end) as lost,
    sum(case when steps.step_number = 1 then histogram.deals_entering else 0 end) as entering
  from {{ ref('int_hazard_histogram') }} as histogram
  inner join steps
    on histogram.weeks_followed > steps.from_week
      and (histogram.outcome <> 'open' or histogram.weeks_followed >= steps.to_week)
  inner join week_months on histogram.week_number + steps.to_week = week_months.week_number
  group by week_months.evidence_on, histogram.stage_key, histogram.weeks_class, histogram.amount_tier, steps.step_number
),

-- how the weeks that won deals spent in a stage are spread, as known at each month's end
won_weeks as (
  select
    months.evidence_on,
    completed.stage_key,
    completed.weeks_class,
    sum(completed.won) as won
  from months
  inner join completed on completed.evidence_on <= months.evidence_on
  group by months.evidence_on, completed.stage_key, completed.weeks_class
),

shares as (
  select
    *,
    coalesce(sum(case when weeks_class >= 0 then won end) over earlier, 0) as won_before,
    sum(case when weeks_class >= 0 then won else 0 end) over whole as won_in_stage
  from won_weeks
  window earlier as (
    partition by evidence_on, stage_key
    order by weeks_class
    rows between unbounded preceding and 1 preceding
  ),
  whole as (partition by evidence_on, stage_key)
),

classes as (
  select
    evidence_on,
    stage_key,
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
    min(weeks_class) over (partition by evidence_on, stage_key, time_bin) as from_week_in_stage
  from classes
),

summed as (
  select
    bins.evidence_on,
    bins.stage_key,
    bins.time_bin,
    bins.from_week_in_stage,
    completed.amount_tier,
    completed.step_number,
    sum(completed.at_risk) as at_risk,
    sum(completed.won) as won,
    sum(completed.lost) as lost,
    sum(case when bins.weeks_class = bins.from_week_in_stage then completed.entering else 0 end) as entering,
    sum(case when bins.weeks_class in (-1, 0) then completed.entering else 0 end) as entering_stage
  from bins
  inner join completed
    on completed.evidence_on <= bins.evidence_on
      and completed.stage_key = bins.stage_key
      and completed.weeks_class = bins.weeks_class
  group by
    bins.evidence_on, bins.stage_key, bins.time_bin, bins.from_week_in_stage, completed.amount_tier, completed.step_number
),

seen_cells as (
  select distinct
    evidence_on,
    stage_key,
    time_bin,
    from_week_in_stage,
    amount_tier
  from summed
),

-- every cell has every step: where no deal has come so far, what is known of the cell's other steps still holds
tier_rows as (
  select
    cells.evidence_on, cells.stage_key, cells.time_bin, cells.from_week_in_stage, cells.amount_tier, steps.step_number,
    coalesce(summed.at_risk, 0) as at_risk, coalesce(summed.won, 0) as won, coalesce(summed.lost, 0) as lost,
    coalesce(summed.entering, 0) as entering, coalesce(summed.entering_stage, 0) as entering_stage
  from seen_cells as cells
  cross join steps
  left join summed
    on cells.evidence_on = summed.evidence_on
      and cells.stage_key = summed.stage_key
      and cells.time_bin = summed.time_bin
      and cells.amount_tier = summed.amount_tier
      and steps.step_number = summed.step_number
),

time_rows as (
  select
    evidence_on, stage_key, time_bin, from_week_in_stage, step_number,
    sum(at_risk) as at_risk, sum(won) as won, sum(lost) as lost, sum(entering) as entering,
    sum(entering_stage) as entering_stage
  from tier_rows
  group by evidence_on, stage_key, time_bin, from_week_in_stage, step_number
),

stage_rows as (
  select
    evidence_on, stage_key, step_number,
    sum(at_risk) as at_risk, sum(won) as won, sum(lost) as lost, sum(entering_stage) as entering
  from time_rows
  group by evidence_on, stage_key, step_number
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

{{ finer_hazards('stage', ['stage_key'], 'overall_hazards', [], [], ['stage_key']) }},

{{ finer_hazards('time', ['stage_key', 'time_bin', 'from_week_in_stage'], 'stage_hazards', ['stage_key'], ['time_bin'], ['stage_key', 'time_bin']) }},

{{ finer_hazards(
  'tier', ['stage_key', 'time_bin', 'from_week_in_stage', 'amount_tier'], 'time_hazards', ['stage_key', 'time_bin'],
  ['amount_tier'], ['stage_key', 'amount_tier']
) }},

every_level as (
  select
    evidence_on, 'overall' as cell_level, '(all)' as stage_key, -2 as time_bin, -2 as from_week_in_stage, -1 as amount_tier,
    step_number, at_risk, won, lost, entering, win_hazard, loss_hazard
  from overall_hazards
  union all
  select
    evidence_on, 'stage' as cell_level, stage_key, -2 as time_bin, -2 as from_week_in_stage, -1 as amount_tier,
    step_number, at_risk, won, lost, entering, win_hazard, loss_hazard
  from stage_hazards
  union all
  select
    evidence_on, 'time' as cell_level, stage_key, time_bin, from_week_in_stage, -1 as amount_tier,
    step_number, at_risk, won, lost, entering, win_hazard, loss_hazard
  from time_hazards
  union all
  select
    evidence_on, 'tier' as cell_level, stage_key, time_bin, from_week_in_stage, amount_tier,
    step_number, at_risk, won, lost, entering, win_hazard, loss_hazard
  from tier_hazards
),

final as (
  select
    evidence_on,
    cell_level,
    stage_key,
    cast(time_bin as int) as time_bin,
    cast(from_week_in_stage as int) as from_week_in_stage,
    cast(amount_tier as int) as amount_tier,
    cast(step_number as int) as step_number,
    cast(at_risk as bigint) as at_risk,
    cast(won as bigint) as won,
    cast(lost as bigint) as lost,
    cast(entering as bigint) as deals_entering,
    cast(win_hazard as double) as win_hazard,
    cast(loss_hazard as double) as loss_hazard
  from every_level
)

select * from final
