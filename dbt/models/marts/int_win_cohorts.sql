-- Deals by the day on which they were created, and on which they first reached the qualified stage: how each ended, and
-- for how many days it was followed.
with context as (
  select as_of from {{ ref('stg_run_context') }}
),

outcomes as (
  select * from {{ ref('int_deal_outcomes') }}
),

-- each deal has one day per basis; it stands there once for each type of period
qualified as (
  select
    deal_key,
    generated_on
  from {{ ref('int_generated_deals') }}
  where basis = 'qualified'
    and period_type = 'quarter'
),

cohorts as (
  select
    'created' as cohort_by,
    started_on as cohort_on,
    outcomes.*
  from outcomes
  union all
  select
    'qualified' as cohort_by,
    qualified.generated_on as cohort_on,
    outcomes.*
  from outcomes
  inner join qualified on outcomes.deal_key = qualified.deal_key
),

followed as (
  select
    cohorts.cohort_by,
    cohorts.deal_key,
    cohorts.source_relation,
    cohorts.cohort_on,
    coalesce(cohorts.outcome, 'open') as outcome,
    rated.outcome_side,
    rated.is_stale_open,
    cohorts.is_import,
    greatest(0, {{ days_between('cohorts.cohort_on', 'coalesce(cohorts.outcome_on, context.as_of)') }}) as followed_days,
    {{ days_between('cohorts.cohort_on', 'context.as_of') }} as days_to_as_of,
    greatest(0, {{ days_between('cohorts.cohort_on', 'history.full_from_on') }}) as seen_from_days
  from cohorts
  cross join context
  inner join {{ ref('fct_rated_deals') }} as rated on cohorts.deal_key = rated.deal_key
  inner join {{ ref('int_source_history') }} as history on cohorts.source_relation = history.source_relation
  where cohorts.cohort_on <= context.as_of
),

final as (
  select
    cohort_by,
    deal_key,
    source_relation,
    cohort_on,
    outcome,
    outcome_side,
    is_stale_open,
    is_import,
    cast(followed_days as int) as followed_days,
    cast(days_to_as_of as int) as days_to_as_of,
    cast(seen_from_days as int) as seen_from_days,
    not is_import and followed_days >= seen_from_days as is_usable
  from followed
)

select * from final
