-- What sales performance counts: where a deal's clock starts, how it ended, and what is too uncertain to measure.
with context as (
  select * from {{ ref('stg_run_context') }}
),

deals as (
  select * from {{ ref('fct_deals') }}
  where not is_deleted
),

visits as (
  select * from {{ ref('int_stage_visits') }}
  where not is_entry_unknown
),

first_entries as (
  select
    deal_key,
    min(entered_on) as first_entered_on
  from visits
  where visit_seq = 1
  group by deal_key
),

qualified_stages as (
  select
    stages.pipeline_key,
    min(stages.stage_order) as stage_order
  from {{ ref('dim_stage') }} as stages
  inner join context
    on lower(context.qualified_stage) in (lower(stages.stage), lower(stages.stage_id))
  where stages.is_open
  group by stages.pipeline_key
),

qualified_entries as (
  select
    visits.deal_key,
    min(visits.entered_on) as qualified_on
  from visits
  inner join {{ ref('dim_stage') }} as stages on visits.stage_key = stages.stage_key
  inner join qualified_stages on stages.pipeline_key = qualified_stages.pipeline_key
  where visits.is_open_stage and stages.stage_order >= qualified_stages.stage_order
  group by visits.deal_key
),

started as (
  select
    deals.*,
    coalesce(deals.created_on, first_entries.first_entered_on) as started_on,
    case
      when deals.created_on is not null then 'created'
      when first_entries.first_entered_on is not null then 'first_stage_entry'
    end as start_basis,
    case
      when context.cycle_from <> 'stage' then coalesce(deals.created_on, first_entries.first_entered_on)
      when context.qualified_stage is null then first_entries.first_entered_on
      else qualified_entries.qualified_on
    end as cycle_from_on,
    case
      when context.cycle_from = 'stage' and context.qualified_stage is not null then 'qualified_stage_entry'
      when context.cycle_from = 'stage' then 'first_stage_entry'
      when deals.created_on is not null then 'created'
      else 'first_stage_entry'
    end as cycle_from_basis,
    case deals.status
      when 'won' then deals.won_on
      when 'lost' then deals.lost_on
      when 'closed_other' then deals.closed_on
    end as ended_on
  from deals
  cross join context
  left join first_entries on deals.deal_key = first_entries.deal_key
  left join qualified_entries on deals.deal_key = qualified_entries.deal_key
),

final as (
  select
    deal_key,
    source_relation,
    deal_id,
    started_on,
    start_basis,
    -- a deal that ended after as_of is no booking yet, whatever its status says
    case when ended_on <= as_of and status <> 'open' then status end as outcome,
    case when ended_on <= as_of then ended_on end as outcome_on,
    is_import,
    case
      when status = 'won' and not is_import and ended_on <= as_of and ended_on >= cycle_from_on
        then {{ days_between('cycle_from_on', 'ended_on') }}
    end as cycle_days,
    case
      when status = 'won' and not is_import and ended_on <= as_of and ended_on >= cycle_from_on
        then cycle_from_basis
    end as cycle_start_basis,
    is_amount_missing,
    is_rate_missing
  from started
)

select * from final
