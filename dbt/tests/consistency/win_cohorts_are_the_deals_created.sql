-- What: the deals of a cohort and the imports beside it are the deals that sales performance says were created.
-- Why: two counts of new deals, or a deal lost between a cohort and its outcomes, would make every win rate doubtful.
-- Window: all months, quarters, years and segments but accounts, which have no cohorts.
with cohorts as (
  select
    period_type,
    period,
    segment_type,
    segment,
    deals_in_cohort + deals_imported as deals,
    deals_won + deals_lost + deals_closed_other + deals_open as deals_by_outcome,
    deals_in_cohort
  from {{ ref('mart_win_rate_cohorts') }}
  where cohort_by = 'created'
    and horizon = 'to_date'
),

created as (
  select
    period_type,
    period,
    segment_type,
    segment,
    deals_created as deals
  from {{ ref('mart_sales_performance') }}
  where segment_type <> 'account'
    and deals_created > 0
),

final as (
  select
    coalesce(cohorts.period, created.period) as period,
    coalesce(cohorts.segment_type, created.segment_type) as segment_type,
    coalesce(cohorts.segment, created.segment) as segment,
    cohorts.deals as deals_of_the_cohort,
    created.deals as deals_created
  from cohorts
  full outer join created
    on cohorts.period_type = created.period_type
      and cohorts.period = created.period
      and cohorts.segment_type = created.segment_type
      and cohorts.segment = created.segment
  where coalesce(cohorts.deals, 0) <> coalesce(created.deals, 0)
    or cohorts.deals_in_cohort <> cohorts.deals_by_outcome
)

select * from final
