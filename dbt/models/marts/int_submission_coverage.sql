-- How many submitted forecasts can be compared, and how many persons have submitted long enough to be measured.
-- Four periods are a year of quarters, as forecast_submission_accuracy asks for.
with habits as (
  select
    submissions.person,
    submissions.person_role,
    submissions.category,
    count(distinct case when submissions.final_on <= context.as_of then submissions.period end) as finished_periods
  from {{ ref('int_submissions') }} as submissions
  cross join {{ ref('stg_run_context') }} as context
  where submissions.is_usable
  group by submissions.person, submissions.person_role, submissions.category
),

persons as (
  select
    person,
    person_role,
    max(finished_periods) as finished_periods
  from habits
  group by person, person_role
),

counted as (
  select
    count(*) as submissions,
    count(case when is_usable then 1 end) as submissions_usable
  from {{ ref('int_submissions') }}
),

measured as (
  select
    count(*) as submitters,
    count(case when finished_periods >= 4 then 1 end) as submitters_measured
  from persons
),

final as (
  select
    counted.submissions,
    counted.submissions_usable,
    measured.submitters,
    measured.submitters_measured
  from counted
  cross join measured
)

select * from final
