-- What: visits that go on in mart_stage_durations against open deals in mart_pipeline_daily, at as_of.
-- Why: two marts, two routes (transitions, versions), one question: who is in the stage today?
-- Window: as_of. Visits left out (unknown entry, mass change) are open or over, so they bound the difference.
with context as (
  select as_of from {{ ref('stg_run_context') }}
),

visits as (
  select
    stage_key,
    visits_open,
    visits_left_out
  from {{ ref('mart_stage_durations') }}
  where counted_per = 'visit'
    and period_type = 'all'
    and segment_type = 'total'
),

pipeline as (
  select
    mart.stage_key,
    mart.deals_open
  from {{ ref('mart_pipeline_daily') }} as mart
  inner join context on mart.period_start = context.as_of
),

final as (
  select
    coalesce(visits.stage_key, pipeline.stage_key) as stage_key,
    visits.visits_open,
    visits.visits_left_out,
    pipeline.deals_open
  from visits
  full outer join pipeline on visits.stage_key = pipeline.stage_key
  where coalesce(pipeline.deals_open, 0) < coalesce(visits.visits_open, 0)
    or coalesce(pipeline.deals_open, 0) > coalesce(visits.visits_open, 0) + coalesce(visits.visits_left_out, 0)
)

select * from final
