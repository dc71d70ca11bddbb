-- Stage order "at the time": each pipeline's life is cut at every change of its stages, and ranked in each piece.
with stages as (
  select * from {{ ref('stg_stages') }}
),

pipelines_seen as (
  select
    source_relation,
    coalesce(pipeline_id, 'default') as pipeline_id
  from (
    select source_relation, pipeline_id from {{ ref('stg_deals') }}
    union all
    select source_relation, pipeline_id from {{ ref('stg_deal_events') }}
    where pipeline_id is not null
    union all
    select source_relation, from_pipeline_id as pipeline_id from {{ ref('stg_deal_events') }}
    where from_pipeline_id is not null
  ) as rows_with_pipelines
  group by source_relation, coalesce(pipeline_id, 'default')
),

-- a stage told without a pipeline belongs to every pipeline of its source
stages_by_pipeline as (
  select
    stages.source_relation,
    coalesce(stages.pipeline_id, pipelines_seen.pipeline_id, 'default') as pipeline_id,
    stages.stage_id,
    stages.stage_name,
    stages.display_order,
    stages.outcome,
    stages.probability,
    stages.forecast_category,
    stages.valid_from_at
  from stages
  left join pipelines_seen
    on stages.source_relation = pipelines_seen.source_relation
      and stages.pipeline_id is null
),

changes as (
  select
    source_relation,
    pipeline_id,
    valid_from_at
  from stages_by_pipeline
  group by source_relation, pipeline_id, valid_from_at
),

pieces as (
  select
    source_relation,
    pipeline_id,
    valid_from_at as piece_begins_at,
    -- what was told first is taken to have held before, too
    case
      when row_number() over (partition by source_relation, pipeline_id order by valid_from_at) = 1
        then timestamp '1900-01-01 00:00:00'
      else valid_from_at
    end as valid_from_at,
    lead(valid_from_at) over (partition by source_relation, pipeline_id order by valid_from_at) as valid_to_at
  from changes
),

candidates as (
  select
    pieces.source_relation,
    pieces.pipeline_id,
    pieces.valid_from_at,
    pieces.valid_to_at,
    stages_by_pipeline.stage_id,
    stages_by_pipeline.stage_name,
    stages_by_pipeline.display_order,
    stages_by_pipeline.outcome,
    stages_by_pipeline.probability,
    stages_by_pipeline.forecast_category,
    row_number() over (
      partition by pieces.source_relation, pieces.pipeline_id, pieces.valid_from_at, stages_by_pipeline.stage_id
      order by stages_by_pipeline.valid_from_at desc, stages_by_pipeline.display_order, stages_by_pipeline.stage_name
    ) as newest_first
  from pieces
  inner join stages_by_pipeline
    on pieces.source_relation = stages_by_pipeline.source_relation
      and pieces.pipeline_id = stages_by_pipeline.pipeline_id
      and stages_by_pipeline.valid_from_at <= pieces.piece_begins_at
),

final as (
  select
    source_relation,
    pipeline_id,
    stage_id,
    stage_name,
    outcome,
    probability,
    forecast_category,
    cast(row_number() over (
      partition by source_relation, pipeline_id, valid_from_at
      order by case when outcome = 'open' then 0 else 1 end, display_order nulls last, stage_id
    ) as int) as stage_rank,
    valid_from_at,
    valid_to_at
  from candidates
  where newest_first = 1
)

select * from final
