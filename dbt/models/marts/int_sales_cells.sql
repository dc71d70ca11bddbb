-- Sums and quantiles of sales performance; rates, tests and comparisons are added by the mart.
with context as (
  select * from {{ ref('stg_run_context') }}
),

outcomes as (
  select * from {{ ref('int_deal_outcomes') }}
),

known_span as (
  select min(first_known_on) as first_known_on
  from {{ ref('int_sales_history') }}
),

periods as (
  select
    periods.period_type,
    periods.period,
    case when periods.period_type = 'all' then known_span.first_known_on else periods.period_start end as period_start,
    case when periods.period_type = 'all' then context.as_of else periods.period_end end as period_end,
    periods.is_complete_period or periods.period_type = 'all' as is_complete_period
  from {{ ref('int_periods') }} as periods
  cross join context
  cross join known_span
  where periods.period_type in ('month', 'quarter', 'year', 'all')
    and periods.period_start <= context.as_of
    and periods.period_end >= known_span.first_known_on
),

period_days as (
  {%- for period_type, label in [
    ('month', 'month_label'), ('quarter', 'quarter_label'), ('year', 'year_label'), ('all', "'all'")
  ] %}
    select
      date_day,
      '{{ period_type }}' as period_type,
      {{ label }} as period
    from {{ ref('dim_date') }}
    where is_complete
    {%- if not loop.last %}
      union all
    {%- endif %}
  {%- endfor %}
),

deals as (
  select
    outcomes.started_on,
    outcomes.start_basis,
    outcomes.outcome,
    -- a deal that counts as lost without being closed ends on that day for win rates, and for nothing else
    coalesce(outcomes.outcome_on, rated.win_rate_on) as ended_on,
    rated.is_in_population and coalesce(rated.win_rate_side, 'none') <> 'excluded' as is_rateable,
    rated.is_stale_open,
    outcomes.is_import,
    outcomes.is_amount_missing,
    outcomes.is_rate_missing,
    segments.segment_type,
    segments.segment,
    segments.amount_base,
    -- a share of the deal is the same share of its amount at the plan's rate
    case
      when {{ is_different('segments.amount_base', 'facts.amount_base') }}
        then case when facts.amount_base <> 0 then cast(facts.amount_plan * (segments.amount_base / facts.amount_base) as decimal(20, 3)) end
      else facts.amount_plan
    end as amount_plan,
    facts.is_plan_rate_missing,
    segments.is_counted,
    case when segments.is_counted then outcomes.outcome end as counted_outcome,
    case when segments.is_counted then rated.win_rate_side end as win_rate_side,
    case when segments.is_counted then outcomes.cycle_days end as cycle_days,
    case when segments.is_counted then outcomes.cycle_start_basis end as cycle_start_basis
  from outcomes
  inner join {{ ref('fct_rated_deals') }} as rated on outcomes.deal_key = rated.deal_key
  inner join {{ ref('fct_deals') }} as facts on outcomes.deal_key = facts.deal_key
  inner join {{ ref('int_deal_segments') }} as segments on outcomes.deal_key = segments.deal_key
),

created as (
  select
    days.period_type,
    days.period,
    deals.segment_type,
    deals.segment,
    count(*) as deals_created,
    count(case when not deals.is_import and deals.is_rateable then 1 end) as deals_created_rateable
  from deals
  inner join period_days as days on deals.started_on = days.date_day
  where deals.is_counted
  group by days.period_type, days.period, deals.segment_type, deals.segment
),

closed as (
  select
    days.period_type,
    days.period,
    deals.segment_type,
    deals.segment,
    count(case when deals.counted_outcome = 'won' then 1 end) as deals_won,
    count(case when deals.counted_outcome = 'lost' then 1 end) as deals_lost,
    count(case when deals.counted_outcome = 'closed_other' then 1 end) as deals_closed_other,
    count(case when deals.is_import and deals.counted_outcome = 'won' then 1 end) as deals_won_imported,
    count(case when deals.is_import and deals.counted_outcome = 'lost' then 1 end) as deals_lost_imported,
    count(case when deals.counted_outcome = 'won' and deals.is_amount_missing then 1 end) as deals_won_without_amount,
    count(case when deals.counted_outcome = 'won' and deals.is_rate_missing then 1 end) as deals_won_without_rate,
    count(case when deals.counted_outcome = 'won' and deals.is_plan_rate_missing then 1 end) as deals_won_without_plan_rate,
    count(case when deals.counted_outcome = 'lost' and deals.is_amount_missing then 1 end) as deals_lost_without_amount,
    count(case when deals.counted_outcome = 'lost' and deals.is_rate_missing then 1 end) as deals_lost_without_rate,
    count(case when deals.win_rate_side = 'won' then 1 end) as deals_rated_won,
    count(case when deals.win_rate_side = 'lost' then 1 end) as deals_rated_lost,
    count(case when deals.win_rate_side = 'excluded' then 1 end) as deals_excluded,
    count(case when deals.win_rate_side = 'lost' and deals.is_stale_open then 1 end) as deals_stale_open,
    count(case when deals.is_import and deals.win_rate_side = 'won' then 1 end) as deals_rated_won_imported,
    count(case when deals.is_import and deals.win_rate_side = 'lost' then 1 end) as deals_rated_lost_imported,
    count(case when deals.win_rate_side = 'won' and deals.amount_base > 0 then 1 end) as deals_rated_won_with_positive_amount,
    count(case when deals.win_rate_side = 'lost' and deals.amount_base > 0 then 1 end) as deals_rated_lost_with_positive_amount,
    count(case when deals.counted_outcome = 'lost' and deals.amount_base > 0 then 1 end) as deals_lost_with_positive_amount,
    count(case when deals.counted_outcome = 'won' and deals.amount_base is not null then 1 end) as deals_won_with_amount,
    -- exact sums first: a mean of doubles depends on the order of the rows
    cast(sum(case when deals.win_rate_side = 'won' and not deals.is_import then deals.amount_base end) as double)
    / nullif(count(case when deals.win_rate_side = 'won' and not deals.is_import then deals.amount_base end), 0) as mean_amount_not_imported,
    sum(case when deals.outcome = 'won' then deals.amount_base end) as won_amount,
    sum(case when deals.outcome = 'won' then deals.amount_plan end) as won_amount_plan,
    sum(case when deals.counted_outcome = 'won' then deals.amount_base end) as counted_won_amount,
    sum(case when deals.outcome = 'lost' then deals.amount_base end) as lost_amount,
    count(case
      when deals.win_rate_side in ('won', 'lost') and deals.amount_base > 0
        and deals.amount_base >= coalesce(context.win_rate_min_amount, 0) then 1
    end) as deals_rated_by_amount,
    sum(case
      when deals.win_rate_side = 'won' and deals.amount_base > 0
        and deals.amount_base >= coalesce(context.win_rate_min_amount, 0) then deals.amount_base
    end) as rated_won_amount,
    sum(case
      when deals.win_rate_side = 'lost' and deals.amount_base > 0
        and deals.amount_base >= coalesce(context.win_rate_min_amount, 0) then deals.amount_base
    end) as rated_lost_amount,
    {{ quantile("case when deals.counted_outcome = 'won' then cast(deals.amount_base as double) end", 0.5) }} as median_deal_amount,
    count(deals.cycle_days) as deals_in_cycle,
    cast(sum(deals.cycle_days) as double) / nullif(count(deals.cycle_days), 0) as sales_cycle_mean_days,
    {%- for name, share in [('p25', 0.25), ('median', 0.5), ('p75', 0.75), ('p90', 0.9)] %}
      {{ quantile('cast(deals.cycle_days as double)', share) }} as sales_cycle_{{ name }}_days,
    {%- endfor %}
    -- of the deals that the win rate of the velocity counts as won
    count(case when deals.win_rate_side = 'won' then deals.cycle_days end) as deals_in_rated_cycle,
    case
      when max(context.cycle_statistic) = 'median'
        then {{ quantile("case when context.cycle_statistic = 'median' and deals.win_rate_side = 'won' then cast(deals.cycle_days as double) end", 0.5) }}
      else
        cast(sum(case when deals.win_rate_side = 'won' then deals.cycle_days end) as double)
        / nullif(count(case when deals.win_rate_side = 'won' then deals.cycle_days end), 0)
    end as rated_cycle_days,
    min(deals.cycle_start_basis) as first_cycle_start_basis,
    max(deals.cycle_start_basis) as last_cycle_start_basis
  from deals
  cross join context
  inner join period_days as days on deals.ended_on = days.date_day
  group by days.period_type, days.period, deals.segment_type, deals.segment
),

-- deals open on any day of the period; looked for only where the velocity is asked on that basis
worked as (
  select
    periods.period_type,
    periods.period,
    deals.segment_type,
    deals.segment,
    count(case when not deals.is_import and deals.is_rateable then 1 end) as deals_worked
  from deals
  inner join (
    select periods.*
    from periods
    inner join context on context.velocity_basis = 'worked'
  ) as periods
    on deals.started_on <= periods.period_end
      and (deals.ended_on is null or deals.ended_on >= periods.period_start)
  where deals.is_counted
  group by periods.period_type, periods.period, deals.segment_type, deals.segment
),

segment_spans as (
  select
    segment_type,
    segment,
    min(least(coalesce(started_on, ended_on), coalesce(ended_on, started_on))) as first_seen_on
  from deals
  group by segment_type, segment
),

-- a rep without a win in March has a row for March; accounts only where something happened, or there is no end of them
cells as (
  select
    periods.period_type,
    periods.period,
    segment_spans.segment_type,
    segment_spans.segment
  from segment_spans
  inner join periods on segment_spans.first_seen_on <= periods.period_end
  where segment_spans.segment_type <> 'account'
  union
  select period_type, period, segment_type, segment from created
  union
  select period_type, period, segment_type, segment from closed
  union
  select period_type, period, segment_type, segment from worked
),

final as (
  select
    cells.period_type,
    cells.period,
    cells.segment_type,
    cells.segment,
    periods.period_start,
    periods.period_end,
    periods.is_complete_period,
    {%- for column in [
      'deals_won', 'deals_lost', 'deals_closed_other', 'deals_won_imported', 'deals_lost_imported',
      'deals_won_without_amount', 'deals_won_without_rate', 'deals_won_without_plan_rate', 'deals_lost_without_amount', 'deals_lost_without_rate',
      'deals_rated_won', 'deals_rated_lost', 'deals_excluded', 'deals_stale_open',
      'deals_rated_won_imported', 'deals_rated_lost_imported',
      'deals_rated_won_with_positive_amount', 'deals_rated_lost_with_positive_amount',
      'deals_lost_with_positive_amount', 'deals_won_with_amount', 'deals_rated_by_amount', 'deals_in_cycle',
      'deals_in_rated_cycle'
    ] %}
      coalesce(closed.{{ column }}, 0) as {{ column }},
    {%- endfor %}
    {%- for column in ['won_amount', 'won_amount_plan', 'counted_won_amount', 'lost_amount', 'rated_won_amount', 'rated_lost_amount'] %}
      cast(closed.{{ column }} as decimal(38, 3)) as {{ column }},
    {%- endfor %}
    closed.median_deal_amount,
    closed.mean_amount_not_imported,
    {%- for name in ['mean', 'p25', 'median', 'p75', 'p90'] %}
      closed.sales_cycle_{{ name }}_days,
    {%- endfor %}
    closed.rated_cycle_days,
    case
      when closed.first_cycle_start_basis = closed.last_cycle_start_basis then closed.first_cycle_start_basis
      when closed.first_cycle_start_basis is not null then 'mixed'
    end as cycle_start_basis,
    coalesce(created.deals_created, 0) as deals_created,
    coalesce(created.deals_created_rateable, 0) as deals_created_rateable,
    coalesce(worked.deals_worked, 0) as deals_worked
  from cells
  inner join periods
    on cells.period_type = periods.period_type
      and cells.period = periods.period
  {%- for part in ['created', 'closed', 'worked'] %}
    left join {{ part }}
      on cells.period_type = {{ part }}.period_type
        and cells.period = {{ part }}.period
        and cells.segment_type = {{ part }}.segment_type
        and cells.segment = {{ part }}.segment
  {%- endfor %}
)

select * from final
