-- Where the facts and settings of the business name what the data do not have: a quota for no period, a stage of no pipeline.
with context as (
  select * from {{ ref('stg_run_context') }}
),

calendar as (
  {%- for period_type in ['month', 'quarter', 'year'] %}
  select {{ period_type }}_label as period
  from {{ ref('dim_date') }}
  group by {{ period_type }}_label
  {%- if not loop.last %}
  union all
  {%- endif %}
  {%- endfor %}
),

quotas as (
  select
    quotas.source_relation,
    coalesce(nullif(trim(quotas.period), ''), '(none)') as written_period,
    case when calendar.period is null then 1 else 0 end as is_unknown,
    count(*) over (partition by quotas.source_relation) as rows_checked
  from {{ ref('stg_quotas') }} as quotas
  left join calendar on quotas.period = calendar.period
),

quota_periods as (
  select
    source_relation,
    case when is_unknown = 1 then written_period else '(all)' end as subject,
    is_unknown,
    count(*) as rows_found,
    max(rows_checked) as rows_checked,
    max(is_unknown) over (partition by source_relation) as has_unknown
  from quotas
  group by source_relation, case when is_unknown = 1 then written_period else '(all)' end, is_unknown
),

pipelines as (
  select
    pipelines.source_relation,
    pipelines.pipeline_key,
    -- two pipelines of a source may bear one label
    concat(
      pipelines.pipeline,
      case when count(*) over (partition by pipelines.source_relation, pipelines.pipeline) > 1 then concat(' (', pipelines.pipeline_id, ')') else '' end
    ) as pipeline,
    deals.deals_there,
    context.qualified_stage,
    max(case when stages.stage_key is not null then 1 else 0 end) as has_stage
  from {{ ref('dim_pipeline') }} as pipelines
  inner join context on context.qualified_stage is not null
  inner join (
    select
      pipeline_key,
      count(*) as deals_there
    from {{ ref('fct_deals') }}
    where not is_deleted and excluded_by is null
    group by pipeline_key
  ) as deals on pipelines.pipeline_key = deals.pipeline_key
  left join {{ ref('dim_stage') }} as stages
    on pipelines.pipeline_key = stages.pipeline_key
      and stages.is_open
      and lower(context.qualified_stage) in (lower(stages.stage), lower(stages.stage_id))
  group by
    pipelines.source_relation,
    pipelines.pipeline_key,
    pipelines.pipeline_id,
    pipelines.pipeline,
    deals.deals_there,
    context.qualified_stage
),

stage_sources as (
  select
    source_relation,
    max(has_stage) as has_stage_anywhere
  from pipelines
  group by source_relation
),

final as (
  select
    source_relation,
    'quota_of_unknown_period' as rule_name,
    subject,
    'error' as severity,
    case when is_unknown = 1 then 'finding' else 'ok' end as status,
    case when is_unknown = 1 then rows_found else 0 end as rows_affected,
    rows_checked,
    cast(null as {{ dbt.type_string() }}) as sample_ids,
    case
      when is_unknown = 1
        then concat(
          cast(rows_found as {{ dbt.type_string() }}), ' of ', cast(rows_checked as {{ dbt.type_string() }}),
          ' quotas are for a period that the calendar does not have: ', subject, '. They are in no attainment and no coverage.'
        )
      else concat('All ', cast(rows_checked as {{ dbt.type_string() }}), ' quotas are for a period of the calendar.')
    end as message,
    case when is_unknown = 1 then 'Write the period as its fiscal label in the file of quotas: 2026-03, 2026Q1 or 2026.' end as remedy,
    cast(null as {{ dbt.type_string() }}) as line_to_paste
  from quota_periods
  where is_unknown = 1 or has_unknown = 0
  union all
  select
    pipelines.source_relation,
    'qualified_stage_unknown' as rule_name,
    pipelines.pipeline as subject,
    case when stage_sources.has_stage_anywhere = 1 then 'warning' else 'error' end as severity,
    case when pipelines.has_stage = 1 then 'ok' else 'finding' end as status,
    null as rows_affected,
    null as rows_checked,
    null as sample_ids,
    case
      when pipelines.has_stage = 1
        then concat('The pipeline ', pipelines.pipeline, ' has the qualified stage ', pipelines.qualified_stage, '.')
      else concat(
        'The pipeline ', pipelines.pipeline, ' has no open stage ', pipelines.qualified_stage, ': none of its ',
        cast(pipelines.deals_there as {{ dbt.type_string() }}), ' deals ever qualifies.'
      )
    end as message,
    case when pipelines.has_stage = 0 then 'Name the stage or its id as the CRM has it under metrics: qualified_stage, one that every pipeline has where that is meant.' end as remedy,
    null as line_to_paste
  from pipelines
  inner join stage_sources on pipelines.source_relation = stage_sources.source_relation
)

select * from final
