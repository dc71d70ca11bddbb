with context as (
  select * from {{ ref('stg_run_context') }}
),

periods as (
  select * from {{ ref('int_periods') }}
  where period_type in ('month', 'quarter', 'year', 'all')
),

period_days as (
  {%- for period_type in ['month', 'quarter', 'year', 'all'] %}
  select
    calendar.date_day,
    '{{ period_type }}' as period_type,
    {{ period_label(period_type, 'calendar') }} as period
  from {{ ref('dim_date') }} as calendar
  where calendar.is_complete
  {%- if not loop.last %}
  union all
  {%- endif %}
  {%- endfor %}
),

sources as (
  select
    min(complete_from_on) as first_complete_from_on,
    max(complete_from_on) as all_complete_from_on
  from {{ ref('int_sales_history') }}
),

-- months only for the whole business: a month of one rep's losses is a handful
ended as (
  select
    days.period_type,
    days.period,
    segments.segment_type,
    segments.segment,
    segments.amount_base,
    segments.is_counted,
    outcomes.outcome,
    rated.is_in_population,
    rated.is_stale_open,
    rated.win_rate_side,
    lost.loss_class,
    lost.loss_reason,
    lost.competitor,
    lost.stage_lost_at_key,
    lost.stage_lost_at,
    lost.pipeline,
    lost.days_in_stage_lost_at
  from {{ ref('int_deal_outcomes') }} as outcomes
  inner join {{ ref('fct_rated_deals') }} as rated on outcomes.deal_key = rated.deal_key
  inner join period_days as days on coalesce(outcomes.outcome_on, rated.win_rate_on) = days.date_day
  inner join {{ ref('int_deal_segments') }} as segments on outcomes.deal_key = segments.deal_key
  left join {{ ref('int_lost_deals') }} as lost on outcomes.deal_key = lost.deal_key
  where (outcomes.outcome is not null or rated.win_rate_side is not null)
    and segments.segment_type <> 'account'
    and (days.period_type <> 'month' or segments.segment_type = 'total')
),

cells as (
  select
    period_type,
    period,
    segment_type,
    segment,
    count(case when is_counted and outcome = 'won' then 1 end) as deals_won,
    count(case when is_counted and outcome = 'lost' then 1 end) as deals_lost_in_all,
    count(case when is_counted and outcome = 'lost' and amount_base > 0 then 1 end) as deals_lost_with_positive_amount,
    count(case when is_counted and outcome = 'lost' and loss_class in ('unknown', 'other') then 1 end) as deals_lost_unclassified,
    count(case when is_counted and win_rate_side = 'won' then 1 end) as deals_rated_won,
    count(case when is_counted and is_in_population and outcome = 'lost' and loss_class = 'competitor' then 1 end) as deals_lost_to_competitor,
    -- without a decision is what broad is about, so it asks for the class itself; of disqualified deals the setting decides
    count(case
      when is_counted and is_in_population and (
        win_rate_side = 'lost'
        or (outcome in ('lost', 'closed_other') and loss_class = 'no_decision')
      ) then 1
    end) as deals_lost_or_undecided,
    count(case when is_counted and win_rate_side = 'lost' and is_stale_open then 1 end) as deals_stale_open,
    sum(case when outcome = 'lost' then amount_base end) as lost_amount_in_all
  from ended
  group by period_type, period, segment_type, segment
),

losses as (
  select * from ended
  where outcome = 'lost'
),

items as (
  {%- for breakdown, item_key, item, loss_class, stage in [
    ('total', "'all'", "'all'", 'null', false),
    ('class', 'loss_class', 'loss_class', 'loss_class', false),
    ('reason', 'loss_reason', 'loss_reason', 'max(loss_class)', false),
    ('stage', 'stage_lost_at_key', 'stage_lost_at', 'null', true),
    ('competitor', 'competitor', 'competitor', 'null', false),
  ] %}
  select
    period_type,
    period,
    segment_type,
    segment,
    '{{ breakdown }}' as breakdown,
    {{ item_key }} as item_key,
    {{ item }} as item,
    {{ "case when min(loss_class) = max(loss_class) then max(loss_class) end" if breakdown == 'reason' else "cast(" ~ loss_class ~ " as " ~ dbt.type_string() ~ ")" }} as loss_class,
    {{ 'stage_lost_at_key' if stage else 'cast(null as ' ~ dbt.type_string() ~ ')' }} as stage_lost_at_key,
    {{ 'stage_lost_at' if stage else 'cast(null as ' ~ dbt.type_string() ~ ')' }} as stage_lost_at,
    {{ 'pipeline' if stage else 'cast(null as ' ~ dbt.type_string() ~ ')' }} as pipeline,
    count(case when is_counted then 1 end) as deals_lost,
    count(case when is_counted and amount_base is null then 1 end) as deals_lost_without_amount,
    -- a deal's amount is in the segments of its lines, also where it is counted for another product
    count(case when amount_base > 0 then 1 end) as positive_amounts,
    sum(amount_base) as lost_amount,
    count(case when is_counted then days_in_stage_lost_at end) as deals_with_days,
    {{ quantile('case when is_counted then days_in_stage_lost_at end', 0.5) }} as median_days
  from losses
  group by
    period_type,
    period,
    segment_type,
    segment{% if breakdown in ('class', 'reason', 'competitor') %},
    {{ item_key }}{% elif breakdown == 'stage' %},
    stage_lost_at_key,
    stage_lost_at,
    pipeline{% endif %}
  {%- if not loop.last %}
  union all
  {%- endif %}
  {%- endfor %}
),

-- a cell where everything was won has its row, too
all_items as (
  select
    cells.*,
    coalesce(items.breakdown, 'total') as breakdown,
    coalesce(items.item_key, 'all') as item_key,
    coalesce(items.item, 'all') as item,
    items.loss_class,
    items.stage_lost_at_key,
    items.stage_lost_at,
    items.pipeline,
    coalesce(items.deals_lost, 0) as deals_lost,
    coalesce(items.deals_lost_without_amount, 0) as deals_lost_without_amount,
    coalesce(items.positive_amounts, 0) as positive_amounts,
    items.lost_amount,
    coalesce(items.deals_with_days, 0) as deals_with_days,
    items.median_days
  from cells
  left join items
    on cells.period_type = items.period_type
      and cells.period = items.period
      and cells.segment_type = items.segment_type
      and cells.segment = items.segment
),

compared as (
  select
    all_items.*,
    totals.deals_lost as total_item_lost,
    totals.deals_lost_in_all as total_lost,
    count(case when all_items.deals_lost_in_all >= context.min_sample then 1 end)
      over (partition by all_items.period_type, all_items.period, all_items.segment_type, all_items.breakdown, all_items.item_key) as segments_compared,
    case
      when all_items.breakdown <> 'total' then null
      when all_items.deals_rated_won + all_items.deals_lost_or_undecided = 0 then 'no_closed_deals'
      when all_items.deals_lost_unclassified > 0.2 * all_items.deals_lost_in_all then 'losses_not_classified'
    end as class_null_reason,
    context.min_sample,
    context.min_sample_median,
    context.as_of,
    context.definition_version
  from all_items
  cross join context
  left join all_items as totals
    on all_items.period_type = totals.period_type
      and all_items.period = totals.period
      and totals.segment_type = 'total'
      and all_items.breakdown = totals.breakdown
      and all_items.item_key = totals.item_key
),

rated as (
  select
    *,
    case when breakdown = 'total' and class_null_reason is null then deals_rated_won end as rated_won,
    case when breakdown = 'total' and class_null_reason is null then deals_rated_won + deals_lost_to_competitor end as narrow_closed,
    case when breakdown = 'total' and class_null_reason is null then deals_rated_won + deals_lost_or_undecided end as broad_closed
  from compared
),

final as (
  select
    rated.period_type,
    rated.period,
    periods.period_start,
    periods.period_end,
    periods.is_complete_period,
    case
      when periods.period_start >= sources.all_complete_from_on then 'full'
      when rated.period_type <> 'all' and periods.period_start < sources.first_complete_from_on then 'left_truncated'
      else 'partial'
    end as history_status,
    rated.segment_type,
    rated.segment,
    rated.breakdown,
    rated.item_key,
    rated.item,
    rated.loss_class,
    rated.stage_lost_at_key,
    rated.stage_lost_at,
    rated.pipeline,
    rated.deals_lost,
    {{ sampled_rate('rated.deals_lost', 'rated.deals_lost_in_all', 'rated.min_sample') }} as lost_share_rate,
    rated.deals_lost as lost_share_numerator,
    rated.deals_lost_in_all as lost_share_denominator,
    {{ wilson_low('rated.deals_lost', 'rated.deals_lost_in_all') }} as rate_low,
    {{ wilson_high('rated.deals_lost', 'rated.deals_lost_in_all') }} as rate_high,
    case
      when rated.segment_type <> 'total' and rated.breakdown <> 'total' and rated.deals_lost_in_all >= rated.min_sample
        then {{ differs_from_rest('rated.deals_lost', 'rated.deals_lost_in_all', 'rated.total_item_lost', 'rated.total_lost', 'rated.segments_compared') }}
    end as differs_from_total,
    rated.deals_lost_in_all < rated.min_sample as sample_too_small,
    cast(case
      when rated.positive_amounts > 0 then rated.lost_amount
      when rated.deals_lost = 0 then 0
    end as decimal(38, 3)) as lost_amount,
    rated.deals_lost_without_amount,
    case
      when rated.deals_lost_in_all >= rated.min_sample and rated.deals_lost_with_positive_amount >= 0.8 * rated.deals_lost_in_all
        then {{ safe_rate('coalesce(rated.lost_amount, 0)', 'rated.lost_amount_in_all') }}
    end as lost_amount_share,
    rated.deals_with_days,
    case when rated.deals_with_days >= rated.min_sample_median then cast(rated.median_days as double) end as median_days_in_stage_lost_at,
    case when rated.breakdown = 'total' then rated.deals_won end as deals_won,
    case when rated.breakdown = 'total' then rated.deals_stale_open end as deals_stale_open,
    {%- for name in ['narrow', 'broad'] %}
    {{ sampled_rate('rated.rated_won', 'rated.' ~ name ~ '_closed', 'rated.min_sample') }} as win_rate_{{ name }},
    rated.rated_won as win_rate_{{ name }}_numerator,
    rated.{{ name }}_closed as win_rate_{{ name }}_denominator,
    {{ wilson_low('rated.rated_won', 'rated.' ~ name ~ '_closed') }} as win_rate_{{ name }}_low,
    {{ wilson_high('rated.rated_won', 'rated.' ~ name ~ '_closed') }} as win_rate_{{ name }}_high,
    {%- endfor %}
    case
      when rated.class_null_reason is not null then rated.class_null_reason
      when rated.breakdown = 'total' and rated.broad_closed < rated.min_sample then 'sample_too_small'
      when rated.breakdown = 'total' and rated.narrow_closed < rated.min_sample then 'narrow_sample_too_small'
    end as win_rate_null_reason,
    rated.as_of,
    rated.definition_version
  from rated
  cross join sources
  inner join periods
    on rated.period_type = periods.period_type
      and rated.period = periods.period
)

select * from final
