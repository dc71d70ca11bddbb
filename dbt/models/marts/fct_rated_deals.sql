-- On which side of win rates each deal counts, from which day, and why: the one place that reads metrics.win_rate.
with context as (
  select * from {{ ref('stg_run_context') }}
),

-- a deal has reached the stage that was in it, or in an open stage that came after it on that day; as in int_stage_reach
-- neither a win nor a loss makes up for it
reached as (
  select visits.deal_key
  from {{ ref('int_open_visits') }} as visits
  inner join {{ ref('dim_stage') }} as stages
    on visits.pipeline_key = stages.pipeline_key
      and stages.is_open
  inner join context
    on context.win_rate_population = 'from_stage'
      and lower(context.qualified_stage) in (lower(stages.stage), lower(stages.stage_id))
  inner join {{ ref('dim_stage_history') }} as history
    on stages.stage_key = history.stage_key
      and history.outcome = 'open'
      and visits.stage_rank >= history.stage_order
      and visits.entered_at >= history.valid_from_at
      and (visits.entered_at < history.valid_to_at or history.valid_to_at is null)
  group by visits.deal_key
),

-- every change counts as a sign of life: of stage, amount, close date, owner, whoever made it
last_changes as (
  select
    versions.deal_key,
    max(versions.valid_from_date) as changed_on
  from {{ ref('fct_deal_versions') }} as versions
  inner join context
    on context.win_rate_stale_days is not null
      and versions.valid_from_date <= context.as_of
  group by versions.deal_key
),

-- an activity after as_of says that the deal lives, whatever came before it
signs_of_life as (
  select
    deals.deal_key,
    greatest(
      last_changes.changed_on,
      coalesce(deals.created_on, last_changes.changed_on),
      coalesce({{ business_date('deals.last_activity_at', 'context.time_zone') }}, last_changes.changed_on)
    ) as last_active_on
  from {{ ref('fct_deals') }} as deals
  cross join context
  inner join last_changes on deals.deal_key = last_changes.deal_key
  where deals.status = 'open' and not deals.is_deleted
),

facts as (
  select
    outcomes.deal_key,
    outcomes.source_relation,
    outcomes.deal_id,
    deals.pipeline_key,
    deals.credit_owner_key,
    deals.account_key,
    deals.product_key,
    outcomes.outcome,
    outcomes.outcome_on,
    case when outcomes.outcome = 'lost' then losses.loss_class end as loss_class,
    coalesce(context.win_rate_population, 'all') <> 'from_stage' or reached.deal_key is not null as is_in_population,
    signs_of_life.last_active_on,
    {{ add_days('signs_of_life.last_active_on', 'context.win_rate_stale_days') }} as stale_on,
    coalesce(context.win_rate_disqualified, 'excluded') = 'excluded' as leaves_out_disqualified,
    coalesce(context.win_rate_no_decision, 'loss') = 'excluded' as leaves_out_no_decision,
    context.as_of,
    context.definition_version
  from {{ ref('int_deal_outcomes') }} as outcomes
  cross join context
  inner join {{ ref('fct_deals') }} as deals on outcomes.deal_key = deals.deal_key
  left join {{ ref('int_lost_deals') }} as losses on outcomes.deal_key = losses.deal_key
  left join reached on outcomes.deal_key = reached.deal_key
  left join signs_of_life on outcomes.deal_key = signs_of_life.deal_key
),

reasoned as (
  select
    *,
    case
      when outcome = 'won' then 'won'
      when outcome = 'lost' and loss_class = 'disqualified' and leaves_out_disqualified then 'disqualified'
      when outcome = 'lost' and loss_class = 'no_decision' and leaves_out_no_decision then 'no_decision'
      when outcome = 'lost' then 'lost'
      when stale_on <= as_of then 'stale_open'
    end as outcome_reason
  from facts
),

sided as (
  select
    *,
    case
      when outcome_reason in ('lost', 'stale_open') then 'lost'
      when outcome_reason in ('disqualified', 'no_decision') then 'excluded'
      else outcome_reason
    end as outcome_side
  from reasoned
),

final as (
  select
    deal_key,
    source_relation,
    deal_id,
    pipeline_key,
    credit_owner_key,
    account_key,
    product_key,
    outcome,
    loss_class,
    is_in_population,
    last_active_on,
    coalesce(outcome_reason = 'stale_open', false) as is_stale_open,
    outcome_side,
    -- an open deal that never reached the stage is open, and nothing is left out
    case
      when is_in_population then outcome_side
      when outcome in ('won', 'lost') then 'excluded'
    end as win_rate_side,
    case
      when is_in_population or outcome_side = 'excluded' then outcome_reason
      when outcome in ('won', 'lost') then 'stage_not_reached'
    end as win_rate_reason,
    case outcome_reason
      when 'stale_open' then stale_on
      else case when outcome in ('won', 'lost') then outcome_on end
    end as win_rate_on,
    as_of,
    definition_version
  from sided
)

select * from final
