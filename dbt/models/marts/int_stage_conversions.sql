-- The deals behind each conversion rate: one row per deal, stage and period, with the sides of the fraction it is on.
{%- set period_types = ['month', 'quarter', 'year', 'all'] %}
{%- set horizons = [30, 60, 90, 180] %}
with context as (
  select as_of from {{ ref('stg_run_context') }}
),

deals as (
  select
    deal_key,
    status,
    excluded_by
  from {{ ref('fct_deals') }}
  where not is_deleted
),

-- stage_conversion_next: how deals left the stage in the period
exits as (
  select
    deal_key,
    source_relation,
    stage_key,
    visit_seq,
    exited_on,
    exit_owner_key as owner_key,
    case
      when is_bulk_exit then 'left_out'
      when exit_type in ('forward', 'skip', 'won') then 'advanced'
      when exit_type in ('lost', 'backward', 'pipeline_switch', 'closed_other') then exit_type
      else 'left_out'
    end as way
  from {{ ref('int_open_visits') }}
  where is_left
),

exits_by_period as (
  {{ in_each_period('exits', 'exited_on', period_types) }}
),

-- a deal counts once; the last time it was won on or lost from the stage decides
left_in_period as (
  select
    period_type,
    period,
    deal_key,
    source_relation,
    stage_key,
    {{ last_value_by('way', ['visit_seq'], "way in ('advanced', 'lost')") }} as decided_way,
    coalesce(
      {{ last_value_by('owner_key', ['visit_seq'], "way in ('advanced', 'lost')") }},
      {{ last_value_by('owner_key', ['visit_seq'], 'owner_key is not null') }}
    ) as owner_key,
    max(case when way = 'backward' then 1 else 0 end) as deals_backward,
    max(case when way = 'pipeline_switch' then 1 else 0 end) as deals_switched,
    max(case when way = 'closed_other' then 1 else 0 end) as deals_closed_other,
    min(case when way = 'left_out' then 1 else 0 end) as deals_left_out
  from exits_by_period
  group by period_type, period, deal_key, source_relation, stage_key
),

-- a stage that deals were only ever found in has no entries to count from; one that all deals skipped lacks nothing
undated_stages as (
  select stage_key
  from {{ ref('int_open_visits') }}
  group by stage_key
  having max(case when is_entry_dated then 1 else 0 end) = 0
),

reach as (
  select
    reached.*,
    undated_stages.stage_key is not null as is_stage_undated
  from {{ ref('int_stage_reach') }} as reached
  left join undated_stages on reached.stage_key = undated_stages.stage_key
),

-- stage_conversion_cohort: deals by the day they came to the stage, and how far they came since
cohorts as (
  {%- for variant, on_date, above, left_out, owner, condition in [
    ('any', 'touched_on', 'above_since_touched_on', 'is_touch_left_out', 'touch_owner_key', 'reach.touched_on is not null'),
    ('strict', 'touched_on', 'above_since_touched_on', 'is_touch_left_out', 'touch_owner_key', 'reach.has_touched_all_before'),
    ('reached', 'reached_on', 'above_since_reached_on', 'is_reach_left_out', 'touch_owner_key', 'reach.reached_on is not null')
  ] %}
  select
    '{{ variant }}' as variant,
    reach.deal_key,
    reach.source_relation,
    reach.stage_key,
    reach.{{ owner }} as owner_key,
    reach.{{ on_date }} as came_on,
    reach.{{ left_out }} or reach.is_stage_undated as is_left_out,
    reach.{{ above }} is not null as is_above,
    {{ days_between('reach.' ~ on_date, 'reach.' ~ above) }} as days_to_above,
    {{ days_between('reach.' ~ on_date, 'context.as_of') }} as days_followed,
    reach.{{ above }} is not null or deals.status <> 'open' as is_decided
  from reach
  cross join context
  inner join deals on reach.deal_key = deals.deal_key
  where {{ condition }}
  {%- if not loop.last %}
  union all
  {%- endif %}
  {%- endfor %}
),

cohorts_by_period as (
  {{ in_each_period('cohorts', 'came_on', period_types) }}
),

-- stage_to_won: deals closed in the period that had been in the stage or above it, in the pipeline they closed in; the
-- stage is the population, whatever that of the win rates is
closed as (
  select
    reach.deal_key,
    reach.source_relation,
    reach.stage_key,
    reach.is_stage_undated,
    rated.outcome_side,
    rated.is_stale_open,
    rated.win_rate_on as decided_on
  from reach
  inner join {{ ref('fct_rated_deals') }} as rated
    on reach.deal_key = rated.deal_key
      and reach.pipeline_key = rated.pipeline_key
  where rated.outcome_side is not null
),

closed_by_period as (
  {{ in_each_period('closed', 'decided_on', period_types) }}
),

final as (
  select
    'stage_conversion_next' as metric,
    'any' as variant,
    period_type,
    period,
    deal_key,
    source_relation,
    stage_key,
    owner_key,
    {%- for horizon in horizons %}
    cast(null as int) as numerator_{{ horizon }}d,
    cast(null as int) as denominator_{{ horizon }}d,
    {%- endfor %}
    case when decided_way = 'advanced' then 1 else 0 end as numerator_to_date,
    case when decided_way is not null then 1 else 0 end as denominator_to_date,
    cast(null as int) as deals_matured,
    deals_backward,
    deals_switched,
    deals_closed_other,
    cast(null as int) as deals_excluded,
    cast(null as int) as deals_stale_open,
    deals_left_out
  from left_in_period
  union all
  select
    'stage_conversion_cohort' as metric,
    variant,
    period_type,
    period,
    deal_key,
    source_relation,
    stage_key,
    owner_key,
    {%- for horizon in horizons %}
    case when not is_left_out and days_followed >= {{ horizon }} and days_to_above <= {{ horizon }} then 1 else 0 end as numerator_{{ horizon }}d,
    case when not is_left_out and days_followed >= {{ horizon }} then 1 else 0 end as denominator_{{ horizon }}d,
    {%- endfor %}
    case when not is_left_out and is_above then 1 else 0 end as numerator_to_date,
    case when not is_left_out then 1 else 0 end as denominator_to_date,
    case when not is_left_out and is_decided then 1 else 0 end as deals_matured,
    cast(null as int) as deals_backward,
    cast(null as int) as deals_switched,
    cast(null as int) as deals_closed_other,
    cast(null as int) as deals_excluded,
    cast(null as int) as deals_stale_open,
    case when is_left_out then 1 else 0 end as deals_left_out
  from cohorts_by_period
  union all
  select
    'stage_to_won' as metric,
    'reached' as variant,
    period_type,
    period,
    deal_key,
    source_relation,
    stage_key,
    cast(null as {{ dbt.type_string() }}) as owner_key,
    {%- for horizon in horizons %}
    cast(null as int) as numerator_{{ horizon }}d,
    cast(null as int) as denominator_{{ horizon }}d,
    {%- endfor %}
    case when outcome_side = 'won' and not is_stage_undated then 1 else 0 end as numerator_to_date,
    case when outcome_side in ('won', 'lost') and not is_stage_undated then 1 else 0 end as denominator_to_date,
    cast(null as int) as deals_matured,
    cast(null as int) as deals_backward,
    cast(null as int) as deals_switched,
    cast(null as int) as deals_closed_other,
    case when outcome_side = 'excluded' and not is_stage_undated then 1 else 0 end as deals_excluded,
    case when is_stale_open and not is_stage_undated then 1 else 0 end as deals_stale_open,
    case when is_stage_undated then 1 else 0 end as deals_left_out
  from closed_by_period
)

select * from final
