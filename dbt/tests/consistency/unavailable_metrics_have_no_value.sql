-- What: a metric of sales performance that no source can carry is null in every row.
-- Why: a figure that readiness calls unavailable would still be read, and believed.
-- Window: all periods and segments.
with unavailable as (
  select metric
  from {{ ref('mart_data_readiness') }}
  where mart = 'mart_sales_performance'
  group by metric
  having min(status) = 'unavailable' and max(status) = 'unavailable'
),

final as (
  select
    unavailable.metric,
    performance.period,
    performance.segment_type,
    performance.segment
  from {{ ref('mart_sales_performance') }} as performance
  cross join unavailable
  where (unavailable.metric = 'win_rate_amount' and performance.win_rate_amount is not null)
    or (unavailable.metric = 'win_rate_count' and performance.win_rate_count is not null)
    or (unavailable.metric = 'won_amount' and performance.won_amount <> 0)
    or (unavailable.metric = 'won_amount_plan' and performance.won_amount_plan <> 0)
    or (unavailable.metric = 'avg_deal_amount' and performance.avg_deal_amount is not null)
    or (unavailable.metric = 'sales_cycle_median_days' and performance.sales_cycle_median_days is not null)
    or (unavailable.metric = 'sales_velocity' and performance.sales_velocity is not null)
)

select * from final
