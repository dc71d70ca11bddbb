-- What: the open deals of all forecast categories against mart_pipeline_daily, for each segment type; and what is closed at the
--   end of a quarter, or at as_of, against the bookings of mart_sales_performance.
-- Why: a category, quarter or owner that nobody thought of would drop deals in silence.
-- Window: every day, of owners the last 35; bookings for the running quarter, whose wins have all been entered by as_of.
with categories as (
  select * from {{ ref('mart_forecast_category_daily') }}
),

daily as (
  select
    period_start,
    {{ days_between('period_start', 'max(period_start) over ()') }} < 35 as is_recent,
    sum(deals_open) as deals_open,
    sum(deals_without_amount) as deals_without_amount,
    sum(deals_without_rate) as deals_without_rate,
    coalesce(sum(open_amount), 0) as open_amount
  from {{ ref('mart_pipeline_daily') }}
  group by period_start
),

segment_types as (
  {%- for segment_type in ['total', 'owner', 'team', 'pipeline'] %}
  select '{{ segment_type }}' as segment_type
  {%- if not loop.last %}
  union all
  {%- endif %}
  {%- endfor %}
),

open_by_day as (
  select
    segment_type,
    period_start,
    sum(deals) as deals,
    sum(deals_without_amount) as deals_without_amount,
    sum(deals_without_rate) as deals_without_rate,
    coalesce(sum(category_amount), 0) as category_amount
  from categories
  where forecast_category <> 'closed'
  group by segment_type, period_start
),

running_quarter as (
  select
    performance.period,
    performance.deals_won,
    performance.won_amount,
    performance.as_of
  from {{ ref('mart_sales_performance') }} as performance
  where performance.period_type = 'quarter'
    and performance.segment_type = 'total'
    and performance.as_of between performance.period_start and performance.period_end
),

closed as (
  select
    segment_type,
    target_quarter,
    period_start,
    sum(deals) as deals,
    coalesce(sum(category_amount), 0) as category_amount
  from categories
  where forecast_category = 'closed'
  group by segment_type, target_quarter, period_start
)

select
  'open' as what,
  segment_types.segment_type,
  daily.period_start
from daily
cross join segment_types
left join open_by_day
  on segment_types.segment_type = open_by_day.segment_type
    and daily.period_start = open_by_day.period_start
where (segment_types.segment_type <> 'owner' or daily.is_recent)
  and (
    coalesce(open_by_day.deals, 0) <> daily.deals_open
    or coalesce(open_by_day.deals_without_amount, 0) <> daily.deals_without_amount
    or coalesce(open_by_day.deals_without_rate, 0) <> daily.deals_without_rate
    or abs(coalesce(open_by_day.category_amount, 0) - daily.open_amount) > 0.01 * (1 + daily.deals_open)
  )
union all
select
  'closed' as what,
  segment_types.segment_type,
  running_quarter.as_of
from running_quarter
cross join segment_types
left join closed
  on segment_types.segment_type = closed.segment_type
    and running_quarter.period = closed.target_quarter
    and running_quarter.as_of = closed.period_start
where coalesce(closed.deals, 0) <> running_quarter.deals_won
  or abs(coalesce(closed.category_amount, 0) - coalesce(running_quarter.won_amount, 0)) > 0.01
