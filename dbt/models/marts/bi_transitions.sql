-- A view over published tables, so that the file holds nothing twice.
with calendar as (
  select * from {{ ref('dim_date') }}
),

stage_sorts as (
  {{ stage_sorts() }}
),

deals as (
  select * from {{ ref('bi_deals') }}
),

moves as (
  select
    transitions.*,
    deals.as_of,
    -- as of a past day, what came after it is not known
    coalesce(transitions.exited_date <= deals.as_of, false) as is_over
  from {{ ref('fct_stage_transitions') }} as transitions
  inner join deals on transitions.deal_key = deals.deal_key
  where transitions.business_date <= deals.as_of
    and transitions.excluded_by is null
),

final as (
  select
    moves.transition_id,
    moves.deal_key,
    deals.deal_id,
    deals.deal_name,
    deals.source_relation,
    moves.transition_number,
    moves.transitioned_at,
    moves.business_date as transitioned_on,
    calendar.week_label as transitioned_week,
    calendar.month_label as transitioned_month,
    calendar.quarter_label as transitioned_quarter,
    pipelines.pipeline,
    moves.pipeline_key,
    coalesce(moves.from_stage, '(start)') as from_stage,
    coalesce(from_sorts.stage_sort, 0) as from_stage_sort,
    moves.from_stage_key,
    moves.to_stage,
    coalesce(to_sorts.stage_sort, 900) as to_stage_sort,
    moves.to_stage_key,
    moves.transition_type,
    moves.to_status,
    moves.visit_number,
    moves.stages_skipped,
    not moves.is_over as is_current,
    case when moves.is_over then moves.exited_date end as exited_on,
    case when moves.is_over then moves.days end as days_in_stage,
    case when moves.is_over then moves.business_days end as business_days_in_stage,
    owners.owner,
    moves.owner_key,
    owners.team,
    owners.team_key,
    deals.owner as deal_owner,
    deals.owner_key as deal_owner_key,
    deals.team as deal_team,
    deals.team_key as deal_team_key,
    deals.account,
    deals.account_key,
    deals.industry,
    deals.product,
    deals.product_key,
    deals.region,
    deals.country,
    deals.lead_source,
    deals.deal_type,
    deals.status as deal_status,
    moves.close_date,
    coalesce(moves.forecast_category, '(none)') as forecast_category,
    moves.probability,
    moves.changed_by,
    moves.time_precision,
    moves.is_inferred,
    moves.is_transient,
    moves.is_bulk_change,
    1 as transitions,
    case when moves.transition_type in ('forward', 'skip') then 1 else 0 end as transitions_forward,
    case when moves.transition_type = 'backward' then 1 else 0 end as transitions_backward,
    case when moves.transition_type = 'won' then 1 else 0 end as transitions_won,
    case when moves.transition_type = 'lost' then 1 else 0 end as transitions_lost,
    moves.amount_base as moved_amount,
    moves.as_of
  from moves
  inner join deals on moves.deal_key = deals.deal_key
  inner join {{ ref('dim_pipeline') }} as pipelines on moves.pipeline_key = pipelines.pipeline_key
  inner join {{ ref('dim_owner') }} as owners on moves.owner_key = owners.owner_key
  left join calendar on moves.business_date = calendar.date_day
  left join stage_sorts as from_sorts on moves.from_stage = from_sorts.stage
  left join stage_sorts as to_sorts on moves.to_stage = to_sorts.stage
)

select * from final
