-- What: the denominators of stage_conversion_next against distinct deals counted in fct_stage_transitions.
-- Why: the mart goes by visits with their neighbours merged; the moves out of a stage must be the same deals.
-- Window: all quarters.
with context as (
  select as_of from {{ ref('stg_run_context') }}
),

moves as (
  select
    moves.fiscal_quarter,
    moves.from_stage_key as stage_key,
    count(distinct moves.deal_key) as deals
  from {{ ref('fct_stage_transitions') }} as moves
  inner join {{ ref('fct_deals') }} as deals on moves.deal_key = deals.deal_key
  cross join context
  where moves.business_date <= context.as_of
    and moves.transition_type in ('forward', 'skip', 'won', 'lost')
    and not moves.is_transient
    and not moves.is_bulk_change
    and not deals.is_deleted
    and moves.excluded_by is null
  group by moves.fiscal_quarter, moves.from_stage_key
),

mart as (
  select
    period as fiscal_quarter,
    stage_key,
    conversion_denominator as deals
  from {{ ref('mart_stage_conversion') }}
  where metric = 'stage_conversion_next'
    and period_type = 'quarter'
    and segment_type = 'total'
),

final as (
  select
    coalesce(moves.fiscal_quarter, mart.fiscal_quarter) as fiscal_quarter,
    coalesce(moves.stage_key, mart.stage_key) as stage_key,
    moves.deals as deals_moved,
    mart.deals as deals_in_mart
  from moves
  full outer join mart
    on moves.fiscal_quarter = mart.fiscal_quarter
      and moves.stage_key = mart.stage_key
  where coalesce(moves.deals, 0) <> coalesce(mart.deals, 0)
)

select * from final
