{{ config(materialized='by_touched_deal', touched_by='int_touched_facts', deal_column='deal_key') }}
-- The core of the ledger with what depends on other deals, on today or on the calendar joined on.
with moves as (
  select * from {{ touched_rows(ref('int_stage_moves'), ref('int_touched_facts')) }} as touched_moves
),

deal_types as (
  select deal_sk, deal_type
  from {{ ref('int_deals') }}
),

labels as (
  select
    stage_key,
    stage,
    stage_order
  from {{ ref('dim_stage') }}
),

days as (
  select
    date_day,
    fiscal_year,
    quarter_label,
    business_day_index
  from {{ ref('dim_date') }}
),

keyed as (
  select
    *,
    case
      when from_stage_id is not null then {{ hash_key(['source_relation', 'from_pipeline_id', 'from_stage_id']) }}
      else {{ none_key() }}
    end as from_stage_key,
    {{ hash_key(['source_relation', 'to_pipeline_id', 'to_stage_id']) }} as to_stage_key,
    {{ hash_key(['source_relation', 'to_pipeline_id']) }} as pipeline_key,
    case
      when owner_id is null then {{ none_key() }}
      else {{ hash_key(['source_relation', 'owner_id']) }}
    end as owner_key
  from moves
),

final as (
  select
    keyed.transition_id,
    keyed.deal_key,
    keyed.source_relation,
    keyed.deal_id,
    keyed.transition_number,
    keyed.transitioned_at,
    keyed.recorded_at_utc,
    keyed.exited_at,
    keyed.business_date,
    keyed.exited_date,
    keyed.from_stage_id,
    keyed.to_stage_id,
    from_labels.stage as from_stage,
    to_labels.stage as to_stage,
    keyed.from_stage_key,
    keyed.to_stage_key,
    keyed.from_pipeline_id,
    keyed.to_pipeline_id,
    keyed.pipeline_key,
    keyed.from_rank,
    keyed.to_rank,
    keyed.from_status,
    keyed.to_status,
    keyed.transition_type,
    cast(case when keyed.transition_type = 'skip' then keyed.to_rank - keyed.from_rank - 1 else 0 end as int) as stages_skipped,
    keyed.visit_number,
    keyed.exited_at is null as is_current,
    keyed.exited_at is null and keyed.to_status = 'open' as is_censored,
    cast(({{ epoch_us('keyed.exited_at') }} - {{ epoch_us('keyed.transitioned_at') }}) / 3600000000.0 as double) as hours,
    cast(({{ epoch_us('keyed.exited_at') }} - {{ epoch_us('keyed.transitioned_at') }}) / 86400000000.0 as double) as "days",
    {{ days_between('keyed.business_date', 'keyed.exited_date') }} as calendar_days,
    cast(left_days.business_day_index - entered_days.business_day_index as int) as business_days,
    keyed.amount_native,
    keyed.currency,
    cast(keyed.amount_native * fx_rates.rate as decimal(20, 3)) as amount_base,
    keyed.close_date,
    keyed.forecast_category,
    keyed.probability,
    keyed.owner_id,
    keyed.owner_key,
    keyed.push_count_so_far,
    keyed.changed_by,
    keyed.change_source,
    keyed.time_precision,
    keyed.inference_rule is not null as is_inferred,
    keyed.inference_rule,
    keyed.is_transient,
    keyed.is_bulk_flagged or bulk_changes.changed_by is not null as is_bulk_change,
    keyed.order_uncertain,
    keyed.is_clamped,
    keyed.is_left_truncated,
    coalesce(
      keyed.reported_from_stage_id <> keyed.from_stage_id or keyed.reported_from_pipeline_id <> keyed.from_pipeline_id,
      keyed.reported_from_stage_id is not null and keyed.from_stage_id is null
    ) as has_gap,
    keyed.reported_from_stage_id,
    to_labels.stage_order as rank_today,
    keyed.deal_key as path_id,
    keyed.known_on,
    keyed.source_event_id,
    entered_days.fiscal_year,
    entered_days.quarter_label as fiscal_quarter,
    {{ excluded_by() }} as excluded_by
  from keyed
  left join labels as from_labels on keyed.from_stage_key = from_labels.stage_key
  left join labels as to_labels on keyed.to_stage_key = to_labels.stage_key
  left join days as entered_days on keyed.business_date = entered_days.date_day
  left join days as left_days on keyed.exited_date = left_days.date_day
  left join {{ ref('int_fx_rates') }} as fx_rates
    on keyed.currency = fx_rates.currency
      and keyed.business_date >= fx_rates.valid_from_date
      and keyed.business_date < fx_rates.valid_to_date
  left join {{ ref('int_bulk_changes') }} as bulk_changes
    on keyed.source_relation = bulk_changes.source_relation
      and keyed.changed_by = bulk_changes.changed_by
      and date_trunc('minute', keyed.transitioned_at) = bulk_changes.changed_in_minute
  left join deal_types on keyed.deal_sk = deal_types.deal_sk
  {{ exclusion_joins('keyed.pipeline_key', 'deal_types.deal_type', 'keyed.owner_key') }}
)

select * from final
