-- Time in stage by Kaplan and Meier (1958, JASA 53, 457-481): stays that still go on count for as long as they lasted, so
-- a stage in which deals are stuck does not look quick. Interval of the median: log(-log) transform, Greenwood's variance.
{%- set period_types = ['quarter', 'year', 'all'] %}
{%- set quantiles = [('p25', 0.75), ('median', 0.5), ('p75', 0.25), ('p90', 0.1)] %}
{%- set cell = 'counted_per, period_type, period, source_relation, stage_key, segment_type, segment' %}
with context as (
  select * from {{ ref('stg_run_context') }}
),

stays as (
  {{ in_each_period(ref('int_stage_durations'), 'entered_on', period_types) }}
),

visits as (
  select * from stays
  where counted_per = 'visit'
),

segments as (
  select
    deal_key,
    segment_type,
    segment
  from {{ ref('int_deal_segments') }}
  where segment_type in ('region', 'industry', 'product')
    and is_counted
),

members as (
  select
    stays.*,
    'total' as segment_type,
    'all' as segment
  from stays
  union all
  select
    visits.*,
    'owner' as segment_type,
    owners.owner as segment
  from visits
  inner join {{ ref('dim_owner') }} as owners on visits.owner_key = owners.owner_key
  union all
  select
    visits.*,
    'team' as segment_type,
    owners.team as segment
  from visits
  inner join {{ ref('dim_owner') }} as owners on visits.owner_key = owners.owner_key
  union all
  select
    visits.*,
    segments.segment_type,
    segments.segment
  from visits
  inner join segments on visits.deal_key = segments.deal_key
),

cells as (
  select
    {{ cell }},
    row_number() over (order by {{ cell }}) as cell_number,
    count(case when is_usable and is_completed then 1 end) as visits_completed,
    count(case when is_usable and not is_completed and not is_bulk_exit then 1 end) as visits_open,
    count(case when is_usable and not is_completed and is_bulk_exit then 1 end) as visits_ended_by_mass_change,
    count(case when not is_usable then 1 end) as visits_left_out,
    count(case when is_usable and seen_from_days = 0 then 1 end) as visits_seen_from_entry,
    -- exact sums first: a mean of doubles depends on the order of the rows
    cast(sum(case when is_usable and is_completed then cast(stay_days as decimal(20, 9)) end) as double)
    / nullif(count(case when is_usable and is_completed then 1 end), 0) as completed_mean_days,
    {{ quantile('case when is_usable and is_completed then stay_days end', 0.5) }} as completed_median_days,
    max(case when is_usable then stay_days end) as longest_days
  from members
  group by {{ cell }}
),

numbered as (
  select
    cells.cell_number,
    members.stay_days,
    members.seen_from_days,
    members.is_completed
  from members
  inner join cells
    on members.counted_per = cells.counted_per
      and members.period_type = cells.period_type
      and members.period = cells.period
      and members.source_relation = cells.source_relation
      and members.stage_key = cells.stage_key
      and members.segment_type = cells.segment_type
      and members.segment = cells.segment
  where members.is_usable
),

-- a stay leaves the ones at risk after it ended, and joins them at the age from which it was seen
ages as (
  select
    cell_number,
    stay_days as age_days,
    case when is_completed then 1 else 0 end as exits,
    1 as ends,
    0 as starts
  from numbered
  union all
  select
    cell_number,
    seen_from_days as age_days,
    0 as exits,
    0 as ends,
    1 as starts
  from numbered
  where seen_from_days > 0
),

by_age as (
  select
    cell_number,
    age_days,
    sum(exits) as exits,
    sum(ends) as ends,
    sum(starts) as starts
  from ages
  group by cell_number, age_days
),

at_risk as (
  select
    cell_number,
    age_days,
    exits,
    sum(ends) over older - sum(starts) over older + starts as stays_at_risk
  from by_age
  window older as (
    partition by cell_number
    order by age_days desc
    rows between unbounded preceding and current row
  )
),

steps as (
  select
    cell_number,
    age_days,
    max(case when exits >= stays_at_risk then 1 else 0 end) over younger as is_nobody_left,
    sum(case when exits < stays_at_risk then ln(1e0 - cast(exits as double) / stays_at_risk) else 0 end) over younger as log_survival,
    sum(case
      when exits < stays_at_risk then cast(exits as double) / (cast(stays_at_risk as double) * (stays_at_risk - exits))
      else 0
    end) over younger as greenwood
  from at_risk
  where exits > 0
  window younger as (
    partition by cell_number
    order by age_days
    rows between unbounded preceding and current row
  )
),

survival as (
  select
    cell_number,
    age_days,
    case when is_nobody_left = 1 then 0e0 else exp(log_survival) end as share_still_in,
    case
      when is_nobody_left = 1 then 0e0
      else exp(log_survival * exp(1.96e0 * sqrt(greenwood) / -log_survival))
    end as share_still_in_low,
    case
      when is_nobody_left = 1 then 0e0
      else exp(log_survival * exp(-1.96e0 * sqrt(greenwood) / -log_survival))
    end as share_still_in_high
  from steps
),

-- 1e-9: a half is a half, whatever the logarithm left of it
crossings as (
  select
    cell_number,
    {%- for name, share_left in quantiles %}
    min(case when share_still_in <= {{ share_left }} + 1e-9 then age_days end) as {{ name }}_days,
    {%- endfor %}
    min(case when share_still_in_low <= 0.5 + 1e-9 then age_days end) as median_low_days,
    min(case when share_still_in_high <= 0.5 + 1e-9 then age_days end) as median_high_days
  from survival
  group by cell_number
),

judged as (
  select
    cells.*,
    {%- for name, share_left in quantiles %}
    crossings.{{ name }}_days,
    {%- endfor %}
    crossings.median_low_days,
    crossings.median_high_days,
    cells.visits_completed < context.min_sample_median as sample_too_small,
    case
      when cells.visits_completed + cells.visits_open + cells.visits_ended_by_mass_change = 0 then 'no_entry_dates'
      when cells.visits_seen_from_entry < context.min_sample_median
        and cells.visits_completed + cells.visits_open + cells.visits_ended_by_mass_change >= context.min_sample_median
        then 'left_truncated'
      when cells.visits_completed < context.min_sample_median then 'small_sample'
      when crossings.p25_days is null then 'p25_not_reached'
      when crossings.median_days is null then 'median_not_reached'
      when crossings.p75_days is null then 'p75_not_reached'
      when crossings.p90_days is null then 'p90_not_reached'
    end as null_reason,
    context.definition_version
  from cells
  cross join context
  left join crossings on cells.cell_number = crossings.cell_number
),

final as (
  select
    judged.counted_per,
    judged.period_type,
    judged.period,
    periods.period_start,
    periods.period_end,
    periods.is_complete_period,
    {{ history_status('judged.period_type', 'periods.period_start', 'history.full_from_on') }} as history_status,
    judged.source_relation,
    stages.pipeline_id,
    stages.pipeline_key,
    pipelines.pipeline,
    stages.stage_id,
    judged.stage_key,
    stages.stage,
    stages.stage_order,
    judged.segment_type,
    judged.segment,
    judged.visits_completed,
    judged.visits_open,
    judged.visits_ended_by_mass_change,
    judged.visits_left_out,
    judged.sample_too_small,
    {%- for column in ['p25_days', 'median_days', 'p75_days', 'p90_days', 'median_low_days', 'median_high_days'] %}
    case
      when coalesce(judged.null_reason, '') not in ('no_entry_dates', 'left_truncated', 'small_sample') then judged.{{ column }}
    end as {{ column }},
    {%- endfor %}
    judged.null_reason,
    cast(judged.completed_mean_days as double) as completed_mean_days,
    cast(judged.completed_median_days as double) as completed_median_days,
    judged.longest_days,
    judged.definition_version
  from judged
  inner join {{ ref('int_periods') }} as periods
    on judged.period_type = periods.period_type
      and judged.period = periods.period
  inner join {{ ref('dim_stage') }} as stages on judged.stage_key = stages.stage_key
  inner join {{ ref('dim_pipeline') }} as pipelines on stages.pipeline_key = pipelines.pipeline_key
  inner join {{ ref('int_source_history') }} as history on judged.source_relation = history.source_relation
)

select * from final
