-- Conversion of each stage by three routes, which answer three questions: how deals left it (exit period), how far the
-- deals that came to it got (cohort), and how many of the deals closed after it were won.
{%- set horizons = ['30d', '60d', '90d', '180d', 'to_date'] %}
{%- set segment_horizons = ['90d', 'to_date'] %}
{%- set measures = [
  'numerator_30d', 'denominator_30d', 'numerator_60d', 'denominator_60d', 'numerator_90d', 'denominator_90d',
  'numerator_180d', 'denominator_180d', 'numerator_to_date', 'denominator_to_date', 'deals_matured', 'deals_backward',
  'deals_switched', 'deals_closed_other', 'deals_excluded', 'deals_stale_open', 'deals_left_out'
] %}
{%- set cell_key = 'members.metric, members.variant, members.period_type, members.period, members.source_relation, members.stage_key' %}
with context as (
  select * from {{ ref('stg_run_context') }}
),

conversions as (
  select * from {{ ref('int_stage_conversions') }}
),

-- segments repeat neither the months nor the variants of the total: their cells would be too small to read
segmented as (
  select * from conversions
  where period_type <> 'month'
    and (variant = 'any' or metric = 'stage_to_won')
),

segments as (
  select
    deal_key,
    segment_type,
    segment
  from {{ ref('int_deal_segments') }}
  where segment_type in ('owner', 'team', 'region', 'industry', 'product')
    and is_counted
),

cells as (
  select
    {%- for measure in measures %}
    sum(members.{{ measure }}) as {{ measure }},
    {%- endfor %}
    {{ cell_key }},
    'total' as segment_type,
    'all' as segment
  from conversions as members
  group by {{ cell_key }}
  union all
  -- who led the deal then
  select
    {%- for measure in measures %}
    sum(members.{{ measure }}) as {{ measure }},
    {%- endfor %}
    {{ cell_key }},
    'owner' as segment_type,
    owners.owner as segment
  from segmented as members
  inner join {{ ref('dim_owner') }} as owners on members.owner_key = owners.owner_key
  group by {{ cell_key }}, owners.owner
  union all
  select
    {%- for measure in measures %}
    sum(members.{{ measure }}) as {{ measure }},
    {%- endfor %}
    {{ cell_key }},
    'team' as segment_type,
    owners.team as segment
  from segmented as members
  inner join {{ ref('dim_owner') }} as owners on members.owner_key = owners.owner_key
  group by {{ cell_key }}, owners.team
  union all
  -- what the deal is; closed deals belong to the owner who closed them
  select
    {%- for measure in measures %}
    sum(members.{{ measure }}) as {{ measure }},
    {%- endfor %}
    {{ cell_key }},
    segments.segment_type,
    segments.segment
  from segmented as members
  inner join segments on members.deal_key = segments.deal_key
  where segments.segment_type in ('region', 'product', 'industry') or members.metric = 'stage_to_won'
  group by {{ cell_key }}, segments.segment_type, segments.segment
),

by_horizon as (
  {%- for horizon in horizons %}
  select
    metric,
    variant,
    case when metric = 'stage_conversion_cohort' then '{{ horizon }}' else 'none' end as horizon,
    period_type,
    period,
    source_relation,
    stage_key,
    segment_type,
    segment,
    cast(numerator_{{ horizon }} as bigint) as conversion_numerator,
    cast(denominator_{{ horizon }} as bigint) as conversion_denominator,
    case when metric = 'stage_conversion_cohort' then cast(denominator_to_date as bigint) end as deals_in_cohort,
    cast({% if horizon == 'to_date' %}deals_matured{% else %}denominator_{{ horizon }}{% endif %} as bigint) as deals_matured,
    cast(deals_backward as bigint) as deals_backward,
    cast(deals_switched as bigint) as deals_switched,
    cast(deals_closed_other as bigint) as deals_closed_other,
    cast(deals_excluded as bigint) as deals_excluded,
    cast(deals_stale_open as bigint) as deals_stale_open,
    cast(deals_left_out as bigint) as deals_left_out
  from cells
  {%- if horizon != 'to_date' %}
  where metric = 'stage_conversion_cohort'
    {%- if horizon not in segment_horizons %}
    and segment_type = 'total'
    {%- endif %}
  {%- endif %}
  {%- if not loop.last %}
  union all
  {%- endif %}
  {%- endfor %}
),

dated_stages as (
  select
    stage_key,
    max(case when is_entry_dated then 1 else 0 end) = 1 as has_entry_dates
  from {{ ref('int_open_visits') }}
  group by stage_key
),

-- a segment is held against the other named ones: deals of which nothing is recorded are often the young or the lost
compared as (
  select
    by_horizon.*,
    by_horizon.conversion_denominator < context.min_sample as sample_too_small,
    sum(case when by_horizon.segment <> '(none)' then by_horizon.conversion_numerator else 0 end) over segments
    + case when by_horizon.segment = '(none)' then by_horizon.conversion_numerator else 0 end as compared_numerator,
    sum(case when by_horizon.segment <> '(none)' then by_horizon.conversion_denominator else 0 end) over segments
    + case when by_horizon.segment = '(none)' then by_horizon.conversion_denominator else 0 end as compared_denominator,
    count(case when by_horizon.segment <> '(none)' and by_horizon.conversion_denominator >= context.min_sample then 1 end)
      over segments as segments_compared,
    context.min_sample,
    context.definition_version
  from by_horizon
  cross join context
  window segments as (
    partition by
      by_horizon.metric, by_horizon.variant, by_horizon.horizon, by_horizon.period_type, by_horizon.period, by_horizon.stage_key,
      by_horizon.segment_type
  )
),

final as (
  select
    compared.metric,
    compared.variant,
    compared.horizon,
    compared.period_type,
    compared.period,
    periods.period_start,
    periods.period_end,
    periods.is_complete_period,
    case
      when compared.metric = 'stage_to_won'
        then {{ history_status('compared.period_type', 'periods.period_start', 'coalesce(sales_history.complete_from_on, history.full_from_on)') }}
      else {{ history_status('compared.period_type', 'periods.period_start', 'history.full_from_on') }}
    end as history_status,
    compared.source_relation,
    stages.pipeline_id,
    stages.pipeline_key,
    pipelines.pipeline,
    stages.stage_id,
    compared.stage_key,
    stages.stage,
    stages.stage_order,
    compared.segment_type,
    compared.segment,
    compared.conversion_numerator,
    compared.conversion_denominator,
    {{ sampled_rate('compared.conversion_numerator', 'compared.conversion_denominator', 'compared.min_sample') }} as conversion_rate,
    {{ wilson_low('compared.conversion_numerator', 'compared.conversion_denominator') }} as rate_low,
    {{ wilson_high('compared.conversion_numerator', 'compared.conversion_denominator') }} as rate_high,
    compared.sample_too_small,
    case
      when compared.conversion_denominator = 0 and not dated_stages.has_entry_dates then 'no_entry_dates'
      when compared.conversion_denominator = 0 then 'no_deals'
      when compared.sample_too_small then 'small_sample'
    end as rate_null_reason,
    case
      when compared.segment_type <> 'total' and compared.horizon <> 'to_date' and not compared.sample_too_small
        then {{ differs_from_rest(
          'compared.conversion_numerator', 'compared.conversion_denominator', 'compared.compared_numerator',
          'compared.compared_denominator', 'compared.segments_compared'
        ) }}
    end as differs_from_total,
    case when compared.metric = 'stage_conversion_next' then compared.conversion_numerator end as deals_advanced,
    case when compared.metric = 'stage_conversion_next' then compared.conversion_denominator - compared.conversion_numerator end as deals_lost,
    compared.deals_backward,
    compared.deals_switched,
    compared.deals_closed_other,
    compared.deals_excluded,
    compared.deals_stale_open,
    compared.deals_left_out,
    compared.deals_in_cohort,
    compared.deals_matured,
    {{ safe_rate('compared.deals_matured', 'compared.deals_in_cohort') }} as matured_share,
    compared.definition_version
  from compared
  inner join {{ ref('int_periods') }} as periods
    on compared.period_type = periods.period_type
      and compared.period = periods.period
  inner join {{ ref('dim_stage') }} as stages on compared.stage_key = stages.stage_key
  inner join {{ ref('dim_pipeline') }} as pipelines on stages.pipeline_key = pipelines.pipeline_key
  inner join {{ ref('int_source_history') }} as history on compared.source_relation = history.source_relation
  left join dated_stages on compared.stage_key = dated_stages.stage_key
  left join {{ ref('int_sales_history') }} as sales_history on compared.source_relation = sales_history.source_relation
)

select * from final
