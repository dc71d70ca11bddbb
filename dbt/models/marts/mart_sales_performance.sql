with context as (
  select * from {{ ref('stg_run_context') }}
),

cells as (
  select * from {{ ref('int_sales_cells') }}
),

sources as (
  select * from {{ ref('int_sales_history') }}
),

-- a month is compared with the same month of the last quarter: deals close towards the end of quarters
periods as (
  select
    period_type,
    period,
    period_start,
    period_end,
    lag(period, 3) over period_line as period_3_before,
    lag(period, 1) over period_line as period_1_before,
    lag(period, 12) over period_line as period_12_before,
    lag(period, 4) over period_line as period_4_before
  from (
    select
      period_type,
      period,
      min(period_start) as period_start,
      min(period_end) as period_end
    from cells
    group by period_type, period
  ) as periods_with_cells
  window period_line as (partition by period_type order by period_start)
),

history as (
  select
    periods.period_type,
    periods.period,
    case periods.period_type
      when 'month' then periods.period_3_before
      when 'all' then null
      else periods.period_1_before
    end as prior_period,
    case periods.period_type
      when 'month' then periods.period_12_before
      when 'quarter' then periods.period_4_before
      when 'year' then periods.period_1_before
    end as same_period_last_year,
    case
      when count(case when periods.period_start < sources.complete_from_on then 1 end) = 0 then 'full'
      when count(case when periods.period_start < sources.complete_from_on then 1 end) = count(*) then 'left_truncated'
      else 'partial'
    end as history_status,
    -- before the first close of all, nobody knows what was booked: that is not zero
    min(sources.first_outcome_on) <= min(periods.period_end) as has_known_outcomes
  from periods
  cross join sources
  where sources.complete_from_on is not null
  group by
    periods.period_type,
    periods.period,
    periods.period_1_before,
    periods.period_3_before,
    periods.period_4_before,
    periods.period_12_before
),

rated as (
  select
    cells.*,
    history.history_status,
    history.prior_period,
    history.same_period_last_year,
    cells.deals_rated_won + cells.deals_rated_lost as deals_decided,
    cells.deals_rated_won + cells.deals_rated_lost < context.min_sample as sample_too_small,
    cells.deals_in_cycle < context.min_sample_median as cycle_sample_too_small,
    cells.deals_won_with_amount < context.min_sample_median as amount_sample_too_small,
    cells.deals_rated_by_amount < context.min_sample as amount_rate_sample_too_small,
    totals.deals_rated_won as total_won,
    totals.deals_rated_won + totals.deals_rated_lost as total_decided,
    totals.deals_rated_lost_with_positive_amount < 0.8 * totals.deals_rated_lost as is_total_lost_without_amount,
    totals.deals_rated_won_with_positive_amount < 0.8 * totals.deals_rated_won as is_total_won_without_amount,
    count(case when cells.deals_rated_won + cells.deals_rated_lost >= context.min_sample then 1 end)
      over (partition by cells.period_type, cells.period, cells.segment_type) as segments_compared,
    least(cells.period_end, context.as_of) as counted_through,
    context.velocity_basis,
    coalesce(context.cycle_statistic, 'median') as sales_cycle_statistic,
    coalesce(context.cycle_statistic, 'mean') as velocity_cycle_statistic,
    context.min_sample,
    context.min_sample_median,
    context.as_of,
    context.definition_version
  from cells
  cross join context
  inner join history
    on cells.period_type = history.period_type
      and cells.period = history.period
  inner join cells as totals
    on cells.period_type = totals.period_type
      and cells.period = totals.period
      and totals.segment_type = 'total'
),

measured as (
  select
    rated.*,
    {{ sampled_rate('deals_rated_won', 'deals_decided', 'min_sample') }} as win_rate_count,
    case
      when deals_decided = 0 then 'no_closed_deals'
      when is_total_lost_without_amount or deals_rated_lost_with_positive_amount < 0.8 * deals_rated_lost then 'lost_without_amount'
      when is_total_won_without_amount or deals_rated_won_with_positive_amount < 0.8 * deals_rated_won then 'won_without_amount'
      when amount_rate_sample_too_small then 'sample_too_small'
    end as win_rate_amount_reason,
    coalesce(rated_won_amount, 0) + coalesce(rated_lost_amount, 0) as rated_amount,
    -- zero is a fact where nothing closed; where deals closed without an amount, nobody knows
    coalesce(won_amount, case when deals_won = 0 then 0 end) as known_won_amount,
    case when deals_lost = 0 then 0 when deals_lost_with_positive_amount > 0 then lost_amount end as known_lost_amount,
    case when deals_won_with_amount > 0 then cast(counted_won_amount as double) / deals_won_with_amount end as mean_won_amount,
    case velocity_basis
      when 'created' then deals_created_rateable
      when 'worked' then deals_worked
      else deals_decided - deals_rated_won_imported - deals_rated_lost_imported
    end as velocity_deals,
    {{ sampled_rate(
      'deals_rated_won - deals_rated_won_imported',
      'deals_decided - deals_rated_won_imported - deals_rated_lost_imported',
      'min_sample'
    ) }} as velocity_win_rate,
    -- a mean of few is shown as ever; a median of few is none
    case when velocity_cycle_statistic = 'mean' or deals_in_rated_cycle >= min_sample_median then rated_cycle_days end as velocity_cycle_days
  from rated
),

final as (
  select
    measured.period_type,
    measured.period,
    measured.period_start,
    measured.period_end,
    measured.is_complete_period,
    measured.history_status,
    measured.segment_type,
    measured.segment,
    measured.deals_created,
    measured.deals_won,
    measured.deals_lost,
    measured.deals_closed_other,
    measured.deals_excluded,
    measured.deals_stale_open,
    measured.deals_won_imported + measured.deals_lost_imported as deals_imported,
    measured.win_rate_count,
    measured.deals_rated_won as win_rate_count_numerator,
    measured.deals_decided as win_rate_count_denominator,
    {{ wilson_low('measured.deals_rated_won', 'measured.deals_decided') }} as rate_low,
    {{ wilson_high('measured.deals_rated_won', 'measured.deals_decided') }} as rate_high,
    case
      when measured.segment_type <> 'total' and not measured.sample_too_small
        then {{ differs_from_rest('measured.deals_rated_won', 'measured.deals_decided', 'measured.total_won', 'measured.total_decided', 'measured.segments_compared') }}
    end as differs_from_total,
    measured.sample_too_small,
    case
      when measured.win_rate_amount_reason is null
        then {{ safe_rate('coalesce(measured.rated_won_amount, 0)', 'measured.rated_amount') }}
    end as win_rate_amount,
    -- nulls here too, or a reader divides them and is back at 100 %
    cast(case
      when coalesce(measured.win_rate_amount_reason, 'sample_too_small') = 'sample_too_small' then coalesce(measured.rated_won_amount, 0)
    end as decimal(38, 3)) as win_rate_amount_numerator,
    cast(case
      when coalesce(measured.win_rate_amount_reason, 'sample_too_small') = 'sample_too_small' then measured.rated_amount
    end as decimal(38, 3)) as win_rate_amount_denominator,
    measured.win_rate_amount_reason,
    cast(measured.known_won_amount as decimal(38, 3)) as won_amount,
    case when plans.has_plan_rates then cast(coalesce(measured.won_amount_plan, case when measured.deals_won = 0 then 0 end) as decimal(38, 3)) end as won_amount_plan,
    cast(measured.known_lost_amount as decimal(38, 3)) as lost_amount,
    measured.deals_won_without_amount,
    measured.deals_won_without_rate,
    measured.deals_won_without_plan_rate,
    measured.deals_lost_without_amount,
    measured.deals_lost_without_rate,
    measured.deals_lost_with_positive_amount,
    cast(measured.mean_won_amount as decimal(20, 3)) as avg_deal_amount,
    cast(case when not measured.amount_sample_too_small then measured.median_deal_amount end as decimal(20, 3)) as median_deal_amount,
    measured.deals_in_cycle,
    case
      when measured.cycle_sample_too_small then null
      when measured.sales_cycle_statistic = 'mean' then measured.sales_cycle_mean_days
      else measured.sales_cycle_median_days
    end as sales_cycle_days,
    measured.sales_cycle_statistic,
    measured.sales_cycle_mean_days,
    {%- for name in ['p25', 'median', 'p75', 'p90'] %}
      case when not measured.cycle_sample_too_small then measured.sales_cycle_{{ name }}_days end as sales_cycle_{{ name }}_days,
    {%- endfor %}
    measured.cycle_start_basis,
    measured.velocity_basis,
    measured.velocity_deals,
    measured.mean_amount_not_imported as velocity_avg_won_amount,
    measured.velocity_win_rate,
    measured.velocity_cycle_days,
    measured.velocity_cycle_statistic,
    case
      when measured.velocity_cycle_days > 0
        then measured.velocity_deals * measured.mean_amount_not_imported * measured.velocity_win_rate / measured.velocity_cycle_days
    end as sales_velocity,
    cast(measured.known_won_amount as double) / ({{ days_between('measured.period_start', 'measured.counted_through') }} + 1) as won_amount_per_day,
    measured.prior_period,
    cast(case when before_history.has_known_outcomes then coalesce(before.known_won_amount, case when before.period is null then 0 end) end as decimal(38, 3)) as prior_period_value,
    measured.is_complete_period and coalesce(before_history.history_status = 'full', false) as is_prior_period_comparable,
    measured.same_period_last_year,
    cast(case when year_history.has_known_outcomes then coalesce(last_year.known_won_amount, case when last_year.period is null then 0 end) end as decimal(38, 3)) as same_period_last_year_value,
    measured.is_complete_period and coalesce(year_history.history_status = 'full', false) as is_same_period_last_year_comparable,
    measured.as_of,
    measured.definition_version
  from measured
  cross join (select count(*) > 0 as has_plan_rates from {{ ref('dim_plan_rate') }}) as plans
  left join measured as before
    on measured.period_type = before.period_type
      and measured.prior_period = before.period
      and measured.segment_type = before.segment_type
      and measured.segment = before.segment
  left join measured as last_year
    on measured.period_type = last_year.period_type
      and measured.same_period_last_year = last_year.period
      and measured.segment_type = last_year.segment_type
      and measured.segment = last_year.segment
  left join history as before_history
    on measured.period_type = before_history.period_type
      and measured.prior_period = before_history.period
  left join history as year_history
    on measured.period_type = year_history.period_type
      and measured.same_period_last_year = year_history.period
)

select * from final
