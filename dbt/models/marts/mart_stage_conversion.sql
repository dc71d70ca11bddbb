-- Conversion of each stage by three routes, which answer three questions: how deals left it (exit period), how far the
-- deals that came to it got (cohort), and how many of the deals closed after it were won.
{%- set horizons = ['30d', '60d', '90d', '180d', 'to_date'] %}
{%- set segment_horizons = ['90d', 'to_date'] %}
{%- set sums %}
    {%- for horizon in horizons %}
    sum(members.numerator_{{ horizon }}) as numerator_{{ horizon }},
    sum(members.denominator_{{ horizon }}) as denominator_{{ horizon }},
    {%- endfor %}
    sum(members.deals_matured) as deals_matured,
    sum(members.deals_backward) as deals_backward,
    sum(members.deals_switched) as deals_switched,
    sum(members.deals_closed_other) as deals_closed_other,
    sum(members.deals_left_out) as deals_left_out
{%- endset %}
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

-- a deal's main product, not its line items: those come with progress, and every product would beat the whole
segments as (
  select
    deal_key,
    segment_type,
    segment
  from {{ ref('int_deal_segments') }}
  where segment_type in ('owner', 'team', 'region', 'industry')
  union all
  select
    deals.deal_key,
    'product' as segment_type,
    products.product as segment
  from {{ ref('fct_deals') }} as deals
  inner join {{ ref('dim_product') }} as products on deals.product_key = products.product_key
),

cells as (
  select
    {{ cell_key }},
    'total' as segment_type,
    'all' as segment,
    {{ sums }}
  from conversions as members
  group by {{ cell_key }}
  union all
  -- who led the deal then
  select
    {{ cell_key }},
    'owner' as segment_type,
    owners.owner as segment,
    {{ sums }}
  from segmented as members
  inner join {{ ref('dim_owner') }} as owners on members.owner_key = owners.owner_key
  group by {{ cell_key }}, owners.owner
  union all
  select
    {{ cell_key }},
    'team' as segment_type,
    owners.team as segment,
    {{ sums }}
  from segmented as members
  inner join {{ ref('dim_owner') }} as owners on members.owner_key = owners.owner_key
  group by {{ cell_key }}, owners.team
  union all
  -- what the deal is; closed deals belong to the owner who closed them
  select
    {{ cell_key }},
    segments.segment_type,
    segments.segment,
    {{ sums }}
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

compared as (
  select
    *,
    max(case when segment_type = 'total' then conversion_numerator end) over cell as total_numerator,
    max(case when segment_type = 'total' then conversion_denominator end) over cell as total_denominator
  from by_horizon
  window cell as (partition by metric, variant, horizon, period_type, period, stage_key)
),

counted as (
  select
    compared.*,
    count(case when compared.conversion_denominator >= context.min_sample then 1 end) over (
      partition by
        compared.metric, compared.variant, compared.horizon, compared.period_type, compared.period, compared.stage_key,
        compared.segment_type
    ) as segments_compared
  from compared
  cross join context
),

-- a stage that deals were only ever found in has no entries to count from; one that all deals skipped lacks nothing
dated_stages as (
  select
    stage_key,
    max(case when is_entry_dated then 1 else 0 end) = 1 as has_entry_dates
  from {{ ref('int_open_visits') }}
  group by stage_key
),

rated as (
  select
    counted.*,
    context.as_of,
    context.min_sample,
    context.definition_version,
    coalesce(dated_stages.has_entry_dates, true) as has_entry_dates,
    counted.conversion_denominator < context.min_sample as sample_too_small
  from counted
  cross join context
  left join dated_stages on counted.stage_key = dated_stages.stage_key
),

final as (
  select
    rated.metric,
    rated.variant,
    rated.horizon,
    rated.period_type,
    rated.period,
    periods.period_start,
    periods.period_end,
    periods.is_complete_period,
    case
      when rated.metric = 'stage_to_won'
        then {{ history_status('rated.period_type', 'periods.period_start', 'coalesce(sales_history.complete_from_on, history.full_from_on)') }}
      else {{ history_status('rated.period_type', 'periods.period_start', 'history.full_from_on') }}
    end as history_status,
    rated.source_relation,
    stages.pipeline_id,
    stages.pipeline_key,
    pipelines.pipeline,
    stages.stage_id,
    rated.stage_key,
    stages.stage,
    stages.stage_order,
    rated.segment_type,
    rated.segment,
    rated.conversion_numerator,
    rated.conversion_denominator,
    case
      when rated.has_entry_dates
        then {{ sampled_rate('rated.conversion_numerator', 'rated.conversion_denominator', 'rated.min_sample') }}
    end as conversion_rate,
    case when rated.has_entry_dates then {{ wilson_low('rated.conversion_numerator', 'rated.conversion_denominator') }} end as rate_low,
    case when rated.has_entry_dates then {{ wilson_high('rated.conversion_numerator', 'rated.conversion_denominator') }} end as rate_high,
    rated.sample_too_small,
    case
      when not rated.has_entry_dates then 'no_entry_dates'
      when rated.conversion_denominator = 0 then 'no_deals'
      when rated.sample_too_small then 'small_sample'
    end as rate_null_reason,
    case
      when rated.segment_type <> 'total' and rated.has_entry_dates and not rated.sample_too_small
        then {{ differs_from_rest('rated.conversion_numerator', 'rated.conversion_denominator', 'rated.total_numerator', 'rated.total_denominator', 'rated.segments_compared') }}
    end as differs_from_total,
    case when rated.metric = 'stage_conversion_next' then rated.conversion_numerator end as deals_advanced,
    case when rated.metric = 'stage_conversion_next' then rated.conversion_denominator - rated.conversion_numerator end as deals_lost,
    rated.deals_backward,
    rated.deals_switched,
    rated.deals_closed_other,
    rated.deals_left_out,
    rated.deals_in_cohort,
    rated.deals_matured,
    {{ safe_rate('rated.deals_matured', 'rated.deals_in_cohort') }} as matured_share,
    rated.definition_version
  from rated
  inner join {{ ref('int_periods') }} as periods
    on rated.period_type = periods.period_type
      and rated.period = periods.period
  inner join {{ ref('dim_stage') }} as stages on rated.stage_key = stages.stage_key
  inner join {{ ref('dim_pipeline') }} as pipelines on stages.pipeline_key = pipelines.pipeline_key
  inner join {{ ref('int_source_history') }} as history on rated.source_relation = history.source_relation
  left join {{ ref('int_sales_history') }} as sales_history on rated.source_relation = sales_history.source_relation
)

select * from final
