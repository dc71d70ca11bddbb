{%- set segments = [('total', "'all'"), ('owner', 'owner'), ('team', 'team'), ('pipeline', 'pipeline'), ('region', 'region')] %}
with context as (
  select * from {{ ref('stg_run_context') }}
),

targets as (
  select
    quarter_label as period,
    quarter_start_on as period_start,
    quarter_end_on as period_end,
    cast(quarter_offset as int) as quarter_offset
  from {{ ref('dim_date') }}
  where quarter_offset between 0 and 4
  group by quarter_label, quarter_start_on, quarter_end_on, quarter_offset
),

stage_chances as (
  select
    stages.stage_key,
    stages.probability,
    qualified.qualified_order,
    stages.stage_order >= qualified.qualified_order as is_qualified_stage
  from {{ ref('dim_stage') }} as stages
  left join (
    select
      named.pipeline_key,
      min(named.stage_order) as qualified_order
    from {{ ref('dim_stage') }} as named
    inner join context on lower(context.qualified_stage) in (lower(named.stage), lower(named.stage_id))
    where named.is_open
    group by named.pipeline_key
  ) as qualified on stages.pipeline_key = qualified.pipeline_key
),

-- a deal that should have closed long ago counts for the running quarter, or not at all, as coverage.include_past_due says
open_deals as (
  select
    targets.period,
    owners.owner,
    owners.team,
    pipelines.pipeline,
    deals.region,
    deals.amount_base,
    deals.close_date < targets.period_start as is_past_due,
    stage_chances.is_qualified_stage,
    -- exact before it is summed: a sum of doubles depends on the order of the rows
    cast(deals.amount_base * coalesce(deals.probability, stage_chances.probability) as decimal(28, 9)) as weighted_amount,
    coalesce(health.pace = 'dead', false) as is_dead,
    -- what is in scope but for being dead: where dead deals cover nothing, they stand in columns of their own
    context.coverage_scope = 'all' or coalesce(stage_chances.is_qualified_stage, false) as is_asked_for,
    coalesce(context.coverage_exclude_dead and health.pace = 'dead', false) as is_excluded
  from {{ ref('fct_deals') }} as deals
  cross join context
  inner join targets
    on deals.close_date <= targets.period_end
      and (deals.close_date >= targets.period_start or (context.coverage_include_past_due and targets.quarter_offset = 0))
  inner join {{ ref('dim_owner') }} as owners on deals.owner_key = owners.owner_key
  inner join {{ ref('dim_pipeline') }} as pipelines on deals.pipeline_key = pipelines.pipeline_key
  left join stage_chances on deals.stage_key = stage_chances.stage_key
  left join {{ ref('int_hygiene_checks') }} as health on deals.deal_key = health.deal_key
  where deals.status = 'open' and not deals.is_deleted and deals.excluded_by is null
),

scoped_deals as (
  select
    *,
    is_asked_for and not is_excluded as is_in_scope,
    is_qualified_stage and not is_excluded as is_qualified
  from open_deals
),

won_deals as (
  select
    targets.period,
    owners.owner,
    owners.team,
    pipelines.pipeline,
    deals.region,
    deals.amount_base
  from {{ ref('fct_deals') }} as deals
  cross join context
  inner join targets on deals.won_on between targets.period_start and targets.period_end
  inner join {{ ref('dim_owner') }} as owners on deals.credit_owner_key = owners.owner_key
  inner join {{ ref('dim_pipeline') }} as pipelines on deals.pipeline_key = pipelines.pipeline_key
  where deals.status = 'won' and not deals.is_deleted and deals.excluded_by is null and deals.won_on <= context.as_of
),

parts as (
  {%- for segment_type, segment in segments %}
  select
    period,
    '{{ segment_type }}' as segment_type,
    {{ segment }} as segment,
    count(case when is_in_scope then 1 end) as deals_open,
    count(case when is_in_scope and amount_base is null then 1 end) as deals_without_amount,
    count(case when is_in_scope and is_past_due then 1 end) as deals_past_due,
    sum(case when is_in_scope then amount_base end) as open_amount,
    sum(case when is_in_scope then weighted_amount end) as weighted_amount,
    count(case when is_asked_for and is_dead then 1 end) as deals_dead,
    sum(case when is_asked_for and is_dead then amount_base end) as dead_amount,
    count(case when is_qualified then 1 end) as deals_qualified,
    sum(case when is_qualified then amount_base end) as qualified_amount,
    cast(null as decimal(38, 3)) as won_amount,
    0 as deals_won
  from scoped_deals
  group by period{{ ", " ~ segment if segment_type != 'total' }}
  union all
  select
    period,
    '{{ segment_type }}' as segment_type,
    {{ segment }} as segment,
    0 as deals_open,
    0 as deals_without_amount,
    0 as deals_past_due,
    null as open_amount,
    null as weighted_amount,
    0 as deals_dead,
    null as dead_amount,
    0 as deals_qualified,
    null as qualified_amount,
    sum(amount_base) as won_amount,
    count(*) as deals_won
  from won_deals
  group by period{{ ", " ~ segment if segment_type != 'total' }}
  union all
  {%- endfor %}
  -- a quota without any deal has its row, and so has the total of every quarter
  select
    quotas.period,
    quotas.segment_type,
    quotas.segment,
    0 as deals_open,
    0 as deals_without_amount,
    0 as deals_past_due,
    null as open_amount,
    null as weighted_amount,
    0 as deals_dead,
    null as dead_amount,
    0 as deals_qualified,
    null as qualified_amount,
    null as won_amount,
    0 as deals_won
  from {{ ref('fct_quota') }} as quotas
  inner join targets on quotas.period = targets.period
  where quotas.period_type = 'quarter' and quotas.segment_type in ('total', 'owner', 'team', 'pipeline', 'region')
  union all
  select
    period,
    'total' as segment_type,
    'all' as segment,
    0 as deals_open,
    0 as deals_without_amount,
    0 as deals_past_due,
    null as open_amount,
    null as weighted_amount,
    0 as deals_dead,
    null as dead_amount,
    0 as deals_qualified,
    null as qualified_amount,
    null as won_amount,
    0 as deals_won
  from targets
),

cells as (
  select
    period,
    segment_type,
    segment,
    cast(sum(deals_open) as bigint) as deals_open,
    cast(sum(deals_without_amount) as bigint) as deals_without_amount,
    cast(sum(deals_past_due) as bigint) as deals_past_due,
    cast(sum(deals_dead) as bigint) as deals_dead,
    cast(sum(deals_qualified) as bigint) as deals_qualified,
    cast(sum(deals_won) as bigint) as deals_won,
    -- nothing open is zero; deals whose amounts nobody knows are not
    coalesce(sum(open_amount), case when sum(deals_open) = 0 then 0 end) as open_amount,
    coalesce(sum(weighted_amount), case when sum(deals_open) = 0 then 0 end) as weighted_amount,
    coalesce(sum(dead_amount), case when sum(deals_dead) = 0 then 0 end) as dead_amount,
    coalesce(sum(qualified_amount), case when sum(deals_qualified) = 0 then 0 end) as qualified_amount,
    coalesce(sum(won_amount), case when sum(deals_won) = 0 then 0 end) as won_amount
  from parts
  group by period, segment_type, segment
),

cycles as (
  select sales_cycle_days
  from {{ ref('mart_sales_performance') }}
  where period_type = 'all' and segment_type = 'total'
),

rates as (
  select
    own.*,
    {{ sampled_rate('own.won_after_amount', 'own.open_then_amount', 0) }} as raw_close_rate,
    own.deals_open_then >= context.min_sample as is_sample_enough
  from {{ ref('int_pipeline_close_rates') }} as own
  cross join context
),

joined as (
  select
    cells.*,
    targets.period_start,
    targets.period_end,
    targets.quarter_offset,
    quotas.quota_amount,
    quotas.quota_amount - cells.won_amount as left_to_get_amount,
    case when own.is_sample_enough then own.raw_close_rate when totals.is_sample_enough then totals.raw_close_rate end as close_rate,
    case when own.is_sample_enough then 'own' when totals.is_sample_enough then 'total' end as close_rate_basis,
    case when own.is_sample_enough then own.won_after_amount when totals.is_sample_enough then totals.won_after_amount end as close_rate_numerator,
    case when own.is_sample_enough then own.open_then_amount when totals.is_sample_enough then totals.open_then_amount end as close_rate_denominator,
    coalesce(case when own.is_sample_enough then own.deals_open_then else totals.deals_open_then end, 0) as close_rate_deals,
    coalesce(case when own.is_sample_enough then own.quarters_compared else totals.quarters_compared end, 0) as quarters_compared,
    coalesce(own_pace.expected_share, total_pace.expected_share) as expected_share,
    cycles.sales_cycle_days,
    context.as_of,
    context.qualified_stage,
    context.coverage_scope,
    coalesce(context.coverage_exclude_dead, false) as is_without_dead,
    context.definition_version
  from cells
  cross join context
  cross join cycles
  inner join targets on cells.period = targets.period
  left join {{ ref('fct_quota') }} as quotas
    on quotas.period_type = 'quarter'
      and cells.period = quotas.period
      and cells.segment_type = quotas.segment_type
      and cells.segment = quotas.segment
  left join rates as own
    on targets.quarter_offset = own.quarters_ahead
      and cells.segment_type = own.segment_type
      and cells.segment = own.segment
  left join rates as totals
    on targets.quarter_offset = totals.quarters_ahead
      and totals.segment_type = 'total'
  left join {{ ref('mart_bookings_pacing') }} as own_pace
    on own_pace.is_as_of_day
      and cells.period = own_pace.period
      and cells.segment_type = own_pace.segment_type
      and cells.segment = own_pace.segment
  left join {{ ref('mart_bookings_pacing') }} as total_pace
    on total_pace.is_as_of_day
      and cells.period = total_pace.period
      and total_pace.segment_type = 'total'
),

final as (
  select
    'quarter' as period_type,
    joined.period,
    joined.period_start,
    joined.period_end,
    joined.quarter_offset,
    joined.segment_type,
    joined.segment,
    joined.quota_amount,
    cast(joined.won_amount as decimal(38, 3)) as won_amount,
    cast(joined.left_to_get_amount as decimal(38, 3)) as left_to_get_amount,
    case when joined.quota_amount is not null then coalesce(joined.left_to_get_amount <= 0, false) end as is_quota_met,
    joined.deals_won,
    joined.deals_open,
    joined.deals_without_amount,
    joined.deals_past_due,
    joined.deals_qualified,
    joined.coverage_scope,
    joined.is_without_dead,
    joined.deals_dead,
    cast(joined.dead_amount as decimal(38, 3)) as dead_amount,
    cast(joined.open_amount as decimal(38, 3)) as open_amount,
    cast(joined.weighted_amount as decimal(38, 3)) as weighted_amount,
    cast(case when joined.qualified_stage is not null then joined.qualified_amount end as decimal(38, 3)) as qualified_amount,
    {{ safe_rate('joined.open_amount', 'joined.left_to_get_amount') }} as pipeline_coverage,
    {{ safe_rate('joined.open_amount', 'joined.quota_amount') }} as pipeline_coverage_gross,
    {{ safe_rate('joined.weighted_amount', 'joined.left_to_get_amount') }} as pipeline_coverage_weighted,
    case when joined.qualified_stage is not null then {{ safe_rate('joined.qualified_amount', 'joined.left_to_get_amount') }} end as pipeline_coverage_qualified,
    joined.close_rate,
    joined.close_rate_numerator,
    joined.close_rate_denominator,
    joined.close_rate_deals,
    joined.close_rate_basis,
    joined.quarters_compared,
    joined.close_rate is null as sample_too_small,
    case when joined.close_rate > 0 then 1e0 / joined.close_rate end as required_coverage,
    cast(case
      when joined.left_to_get_amount <= 0 then 0
      when joined.close_rate > 0 then greatest(cast(joined.left_to_get_amount as double) / joined.close_rate - cast(joined.open_amount as double), 0)
    end as decimal(38, 3)) as to_create_amount,
    case
      when joined.left_to_get_amount > 0 and joined.sales_cycle_days is not null
        then {{ add_days('joined.period_end', '-ceil(joined.sales_cycle_days)') }}
    end as create_by_date,
    case when joined.quota_amount > 0 then cast(joined.won_amount as double) / cast(joined.quota_amount as double) end as quota_attainment,
    joined.expected_share,
    case when joined.quota_amount > 0 then cast(joined.won_amount as double) / cast(joined.quota_amount as double) - joined.expected_share end as pacing,
    joined.as_of,
    joined.definition_version
  from joined
)

select * from final
