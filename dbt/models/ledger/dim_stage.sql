-- Stages as they stand today; a stage that only history knows keeps a row, and so does each virtual stage in use.
with ranks as (
  select * from {{ ref('int_stage_ranks') }}
),

newest as (
  select
    *,
    row_number() over (
      partition by source_relation, pipeline_id, stage_id
      order by valid_from_at desc
    ) as newest_first
  from ranks
),

used as (
  select
    deals.source_relation,
    states.pipeline_id,
    states.stage_id,
    max(states.status) as status
  from {{ ref('int_deal_states') }} as states
  inner join {{ ref('int_deals') }} as deals on states.deal_sk = deals.deal_sk
  group by deals.source_relation, states.pipeline_id, states.stage_id
),

members as (
  select
    coalesce(newest.source_relation, used.source_relation) as source_relation,
    coalesce(newest.pipeline_id, used.pipeline_id) as pipeline_id,
    coalesce(newest.stage_id, used.stage_id) as stage_id,
    case
      when newest.stage_id is not null then newest.stage_name
      when used.stage_id = '(open)' then '(open, stage not recorded)'
      when used.stage_id in ('(won)', '(lost)', '(closed_other)') then used.stage_id
      else concat('deleted (', used.stage_id, ')')
    end as stage,
    newest.stage_rank as stage_order,
    coalesce(
      newest.outcome,
      case when used.stage_id in ('(won)', '(lost)', '(closed_other)') then used.status end,
      'open'
    ) as outcome,
    newest.probability,
    newest.forecast_category,
    newest.stage_id is null and used.stage_id not in ('(open)', '(won)', '(lost)', '(closed_other)') as is_deleted,
    newest.stage_id is null as is_only_in_history
  from (select * from newest where newest_first = 1) as newest
  full outer join used
    on newest.source_relation = used.source_relation
      and newest.pipeline_id = used.pipeline_id
      and newest.stage_id = used.stage_id
),

final as (
  select
    {{ hash_key(['source_relation', 'pipeline_id', 'stage_id']) }} as stage_key,
    source_relation,
    stage_id,
    stage,
    pipeline_id,
    {{ hash_key(['source_relation', 'pipeline_id']) }} as pipeline_key,
    stage_order,
    outcome = 'open' as is_open,
    outcome,
    probability,
    forecast_category,
    is_deleted
  from members
  union all
  select
    {{ none_key() }} as stage_key,
    '(none)' as source_relation,
    '(none)' as stage_id,
    '(none)' as stage,
    '(none)' as pipeline_id,
    {{ none_key() }} as pipeline_key,
    null as stage_order,
    false as is_open,
    'closed_other' as outcome,
    null as probability,
    null as forecast_category,
    false as is_deleted
)

select * from final
