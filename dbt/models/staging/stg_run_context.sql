-- The newest run by order: all models read its as-of day and settings, none reads a clock.
with runs as (
  select * from {{ source('ops', 'run_context') }}
),

newest as (
  select max(run_order) as run_order
  from runs
),

final as (
  select
    runs.run_id,
    runs.run_order,
    runs.run_kind,
    runs.as_of,
    runs.landed_through,
    runs.recorded_at,
    runs.business_name,
    runs.time_zone,
    runs.currency,
    runs.fiscal_year_start_month,
    runs.fiscal_calendar,
    runs.fiscal_year_end,
    runs.week_start,
    runs.history_start,
    runs.min_sample,
    runs.min_sample_median,
    runs.transient_seconds,
    runs.entry_tolerance_seconds,
    runs.bulk_deals,
    runs.grace_business_days,
    runs.qualified_stage,
    runs.dates_won,
    runs.dates_lost,
    runs.cycle_from,
    runs.velocity_basis,
    runs.cycle_statistic,
    runs.win_rate_population,
    runs.win_rate_no_decision,
    runs.win_rate_disqualified,
    cast(runs.win_rate_min_amount as decimal(20, 3)) as win_rate_min_amount,
    runs.amount_measure,
    runs.win_rate_stale_days,
    runs.estimate_open_amounts,
    runs.coverage_scope,
    runs.coverage_include_past_due,
    runs.coverage_exclude_dead,
    runs.pace_slow,
    runs.pace_stalled,
    runs.pace_dead,
    runs.activity_days,
    runs.segments_region_from,
    runs.definition_version,
    runs.settings_json,
    runs.data_as_of_warning
  from runs
  inner join newest on runs.run_order = newest.run_order
)

select * from final
