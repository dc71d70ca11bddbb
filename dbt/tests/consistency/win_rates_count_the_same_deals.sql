-- What: the sides of the win rate in sales performance and in the scorecard against fct_rated_deals, and against the deals won and
--   lost of their own rows.
-- Why: four marts and the semantic layer tell a win rate; a deal on another side in one of them would be found by nobody.
-- Window: all periods of the total, and of each rep.
with sides as (
  select
    count(case when win_rate_side = 'won' then 1 end) as deals_won,
    count(case when win_rate_side in ('won', 'lost') then 1 end) as deals_decided,
    count(case when win_rate_side = 'excluded' then 1 end) as deals_excluded,
    count(case when win_rate_side = 'lost' and is_stale_open then 1 end) as deals_stale_open
  from {{ ref('fct_rated_deals') }}
),

performance as (
  select * from {{ ref('mart_sales_performance') }}
),

scorecard as (
  select * from {{ ref('mart_rep_scorecard') }}
  where credit = 'at_the_time'
)

select
  'the periods of the mart count other deals' as what,
  'all' as period,
  'all' as who
from sides
left join performance
  on performance.period_type = 'all'
    and performance.segment_type = 'total'
where sides.deals_won <> coalesce(performance.win_rate_count_numerator, 0)
  or sides.deals_decided <> coalesce(performance.win_rate_count_denominator, 0)
  or sides.deals_excluded <> coalesce(performance.deals_excluded, 0)
  or sides.deals_stale_open <> coalesce(performance.deals_stale_open, 0)
union all
select
  'a deal is on no side' as what,
  period,
  segment as who
from performance
where win_rate_count_denominator <> deals_won + deals_lost - deals_excluded + deals_stale_open
  or win_rate_count_numerator > deals_won
union all
select
  'a rep is rated by other deals' as what,
  scorecard.period,
  scorecard.owner as who
from scorecard
left join performance
  on scorecard.period_type = performance.period_type
    and scorecard.period = performance.period
    and performance.segment_type = 'owner'
    and scorecard.owner = performance.segment
where scorecard.win_rate_count_numerator <> coalesce(performance.win_rate_count_numerator, 0)
  or scorecard.win_rate_count_denominator <> coalesce(performance.win_rate_count_denominator, 0)
  or scorecard.deals_excluded <> coalesce(performance.deals_excluded, 0)
  or scorecard.deals_stale_open <> coalesce(performance.deals_stale_open, 0)
