-- One actor who moves many deals within one clock minute is an administration, not selling. Unknown actors never count.
with context as (
  select bulk_deals from {{ ref('stg_run_context') }}
),

minutes as (
  select
    source_relation,
    changed_by,
    date_trunc('minute', transitioned_at) as changed_in_minute,
    count(distinct deal_sk) as deals_moved
  from {{ ref('int_stage_moves') }}
  where changed_by is not null
  group by source_relation, changed_by, date_trunc('minute', transitioned_at)
),

final as (
  select
    minutes.source_relation,
    minutes.changed_by,
    minutes.changed_in_minute,
    minutes.deals_moved
  from minutes
  cross join context
  where minutes.deals_moved >= context.bulk_deals
)

select * from final
