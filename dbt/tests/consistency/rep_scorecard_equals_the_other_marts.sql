-- What: what each rep won and lost against mart_sales_performance, the open deals of all against mart_pipeline_daily, and one
--   way of giving credit against the other, in total.
-- Why: three marts give credit by rules of their own; a rep or a deal that falls out would be missed by nobody.
-- Window: all months, quarters and years; open deals at the end of each, or at as_of.
with scorecard as (
  select * from {{ ref('mart_rep_scorecard') }}
),

by_rep as (
  select
    period_type,
    period,
    owner,
    deals_won,
    deals_lost,
    won_amount
  from scorecard
  where credit = 'at_the_time'
),

performance as (
  select
    period_type,
    period,
    segment as owner,
    deals_won,
    deals_lost,
    won_amount
  from {{ ref('mart_sales_performance') }}
  where segment_type = 'owner' and period_type in ('month', 'quarter', 'year')
),

totals as (
  select
    period_type,
    period,
    credit,
    min(least(period_end, as_of)) as through_day,
    sum(deals_created) as deals_created,
    sum(deals_won) as deals_won,
    sum(deals_lost) as deals_lost,
    sum(deals_open) as deals_open,
    coalesce(sum(won_amount), 0) as won_amount,
    coalesce(sum(open_amount), 0) as open_amount
  from scorecard
  group by period_type, period, credit
),

daily as (
  select
    period_start,
    sum(deals_open) as deals_open,
    coalesce(sum(open_amount), 0) as open_amount
  from {{ ref('mart_pipeline_daily') }}
  group by period_start
)

select
  'a rep closed something else than in mart_sales_performance' as what,
  coalesce(by_rep.period, performance.period) as period,
  coalesce(by_rep.owner, performance.owner) as who
from by_rep
full outer join performance
  on by_rep.period_type = performance.period_type
    and by_rep.period = performance.period
    and by_rep.owner = performance.owner
where coalesce(by_rep.deals_won, 0) <> coalesce(performance.deals_won, 0)
  or coalesce(by_rep.deals_lost, 0) <> coalesce(performance.deals_lost, 0)
  or coalesce(by_rep.won_amount, 0) <> coalesce(performance.won_amount, 0)
union all
select
  'open deals are not those of mart_pipeline_daily' as what,
  totals.period,
  totals.credit as who
from totals
inner join daily on totals.through_day = daily.period_start
where totals.deals_open <> daily.deals_open
  or abs(totals.open_amount - daily.open_amount) > 0.01 * (1 + totals.deals_open)
union all
select
  'the two ways of giving credit differ in total' as what,
  totals.period,
  totals.credit as who
from totals
inner join totals as others
  on totals.period_type = others.period_type
    and totals.period = others.period
where totals.deals_created <> others.deals_created
  or totals.deals_won <> others.deals_won
  or totals.deals_lost <> others.deals_lost
  or totals.deals_open <> others.deals_open
  or totals.won_amount <> others.won_amount
  or abs(totals.open_amount - others.open_amount) > 0.01 * (1 + totals.deals_open)
