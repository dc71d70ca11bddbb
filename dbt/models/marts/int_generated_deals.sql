-- When each deal came into the pipeline: created as an open deal, and first entered the qualified stage.
with context as (
  select * from {{ ref('stg_run_context') }}
),

transitions as (
  select
    transitions.*,
    case when transitions.to_status = 'open' and not transitions.is_transient then stages.stage_order end as open_stage_order
  from {{ ref('fct_stage_transitions') }} as transitions
  left join {{ ref('dim_stage') }} as stages on transitions.to_stage_key = stages.stage_key
  cross join context
  where transitions.business_date <= context.as_of
),

qualified_stages as (
  select
    stages.pipeline_key,
    min(stages.stage_order) as qualified_order
  from {{ ref('dim_stage') }} as stages
  inner join context on lower(context.qualified_stage) in (lower(stages.stage), lower(stages.stage_id))
  where stages.is_open
  group by stages.pipeline_key
),

entries as (
  select
    'created' as basis,
    transitions.deal_key,
    -- a deal whose beginning is left out of the log began when its record was created
    case
      when transitions.is_left_truncated then {{ business_date('deals.created_at', 'context.time_zone') }}
      else transitions.business_date
    end as generated_on,
    transitions.known_on
  from transitions
  cross join context
  inner join {{ ref('int_deals') }} as deals on transitions.deal_key = deals.deal_key
  where transitions.transition_number = 1
    and transitions.excluded_by is null
    and transitions.to_status = 'open'
    and coalesce(transitions.inference_rule, '') <> 'snapshot_first_seen'
  union all
  select
    'qualified' as basis,
    transitions.deal_key,
    transitions.business_date as generated_on,
    transitions.known_on
  from transitions
  inner join (
    select
      passed.deal_key,
      min(passed.transition_number) as transition_number
    from transitions as passed
    inner join qualified_stages
      on passed.pipeline_key = qualified_stages.pipeline_key
        and passed.open_stage_order >= qualified_stages.qualified_order
    where passed.excluded_by is null
    group by passed.deal_key
  ) as firsts
    on transitions.deal_key = firsts.deal_key
      and transitions.transition_number = firsts.transition_number
  where not transitions.is_left_truncated
    and not transitions.is_clamped
    and coalesce(transitions.inference_rule, '') <> 'snapshot_first_seen'
),

-- the evening of the day; a deal that was gone by then is told by its next evening
first_evenings as (
  select
    entries.basis,
    entries.deal_key,
    entries.generated_on,
    entries.known_on,
    min(states.state_number) as state_number
  from entries
  inner join {{ ref('fct_pipeline_states') }} as states
    on entries.deal_key = states.deal_key
      and entries.generated_on < states.valid_to_date
  where entries.generated_on is not null
    and states.phase <> 'excluded'
  group by entries.basis, entries.deal_key, entries.generated_on, entries.known_on
),

newest as (
  select
    states.deal_key,
    states.phase,
    states.amount_native,
    states.currency
  from {{ ref('fct_pipeline_states') }} as states
  cross join context
  where states.valid_to_date > context.as_of
),

freezes as (
  select * from {{ ref('int_period_freezes') }}
),

final as (
  select
    first_evenings.basis,
    freezes.period_type,
    freezes.period,
    first_evenings.deal_key,
    first_evenings.generated_on,
    states.owner,
    states.team,
    states.pipeline,
    states.region,
    newest.phase <> 'removed' as is_restated,
    cast(states.amount_native * rates.rate as decimal(20, 3)) as as_created_amount,
    cast(newest.amount_native * newest_rates.rate as decimal(20, 3)) as restated_amount,
    coalesce(freezes.is_frozen and first_evenings.known_on <= freezes.frozen_on and known.phase <> 'removed', false) as is_frozen,
    cast(known.amount_native * known_rates.rate as decimal(20, 3)) as frozen_amount
  from first_evenings
  inner join {{ ref('fct_pipeline_states') }} as states
    on first_evenings.deal_key = states.deal_key
      and first_evenings.state_number = states.state_number
  inner join newest on first_evenings.deal_key = newest.deal_key
  inner join freezes on first_evenings.generated_on between freezes.period_start and freezes.period_end
  left join {{ ref('int_states_as_known') }} as known
    on first_evenings.deal_key = known.deal_key
      and freezes.frozen_on >= known.known_from
      and freezes.frozen_on < known.known_to
  left join {{ ref('int_fx_rates') }} as rates
    on states.currency = rates.currency
      and first_evenings.generated_on >= rates.valid_from_date
      and first_evenings.generated_on < rates.valid_to_date
  left join {{ ref('int_fx_rates') }} as newest_rates
    on newest.currency = newest_rates.currency
      and first_evenings.generated_on >= newest_rates.valid_from_date
      and first_evenings.generated_on < newest_rates.valid_to_date
  left join {{ ref('int_fx_rates_as_was') }} as known_rates
    on freezes.frozen_on = known_rates.known_day
      and known.currency = known_rates.currency
      and first_evenings.generated_on >= known_rates.valid_from_date
      and first_evenings.generated_on < known_rates.valid_to_date
)

select * from final
