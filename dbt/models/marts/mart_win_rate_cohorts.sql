-- Win rates of the deals that came in together: won so far, won in the end with open deals counted (int_win_incidence), and
-- the biased rate of the deals closed so far, side by side.
with context as (
  select * from {{ ref('stg_run_context') }}
),

-- a source that begins late makes the periods before it partial, or left_truncated where all sources do
history as (
  select
    periods.period_type,
    periods.period,
    periods.period_start,
    periods.period_end,
    periods.is_complete_period,
    case
      when count(case when periods.period_start < sources.full_from_on then 1 end) = 0 then 'full'
      when periods.period_type = 'all' or count(case when periods.period_start < sources.full_from_on then 1 end) < count(*) then 'partial'
      else 'left_truncated'
    end as history_status
  from {{ ref('int_periods') }} as periods
  cross join {{ ref('int_source_history') }} as sources
  group by periods.period_type, periods.period, periods.period_start, periods.period_end, periods.is_complete_period
),

judged as (
  select
    cohorts.*,
    cohorts.deals_in_cohort < context.min_sample as sample_too_small,
    case
      when cohorts.deals_in_cohort = 0 then 'no_deals'
      when cohorts.deals_in_cohort < context.min_sample then 'small_sample'
      when cohorts.deals_seen_from_start < context.min_sample then 'left_truncated'
      when not cohorts.is_told then 'not_followed_long_enough'
    end as null_reason,
    sum(case when cohorts.segment <> '(none)' then cohorts.deals_won else 0 end) over segments
    + case when cohorts.segment = '(none)' then cohorts.deals_won else 0 end as compared_won,
    sum(case when cohorts.segment <> '(none)' then cohorts.deals_in_cohort else 0 end) over segments
    + case when cohorts.segment = '(none)' then cohorts.deals_in_cohort else 0 end as compared_deals,
    count(case when cohorts.segment <> '(none)' and cohorts.deals_in_cohort >= context.min_sample then 1 end)
      over segments as segments_compared,
    context.min_sample,
    context.as_of,
    context.definition_version
  from {{ ref('int_win_incidence') }} as cohorts
  cross join context
  window segments as (
    partition by cohorts.cohort_by, cohorts.period_type, cohorts.period, cohorts.segment_type, cohorts.horizon
  )
),

-- log(-log) keeps the ends between 0 and 1; where nobody or everybody won it has no value, and Wilson's is taken.
-- 1e-9: all is all, whatever the sum left of it
estimated as (
  select
    *,
    case when null_reason is null then least(share_won, 1e0) end as win_incidence,
    case
      when null_reason is not null then null
      when share_won <= 0 then 0e0
      when share_won > 1e0 - 1e-9 then {{ wilson_low('deals_known', 'deals_known') }}
      else exp(ln(share_won) * exp(-1.96e0 * share_won_error / (share_won * ln(share_won))))
    end as win_incidence_low,
    case
      when null_reason is not null then null
      when share_won > 1e0 - 1e-9 then 1e0
      when share_won <= 0 then {{ wilson_high('0', 'deals_known') }}
      else exp(ln(share_won) * exp(1.96e0 * share_won_error / (share_won * ln(share_won))))
    end as win_incidence_high,
    -- with open deals counted and without: the same deals on both sides, so none is excluded here
    {{ safe_rate('deals_won', 'deals_won + deals_lost') }} as decided_rate,
    deals_won + deals_lost - deals_excluded + deals_stale_open as deals_rated
  from judged
),

final as (
  select
    estimated.cohort_by,
    estimated.period_type,
    estimated.period,
    history.period_start,
    history.period_end,
    history.is_complete_period,
    history.history_status,
    estimated.segment_type,
    estimated.segment,
    estimated.horizon,
    estimated.horizon_days,
    estimated.deals_in_cohort,
    estimated.deals_won,
    estimated.deals_lost,
    estimated.deals_closed_other,
    estimated.deals_open,
    estimated.deals_excluded,
    estimated.deals_stale_open,
    estimated.deals_imported,
    estimated.deals_left_out,
    estimated.win_incidence,
    estimated.win_incidence_low,
    estimated.win_incidence_high,
    estimated.null_reason as win_incidence_null_reason,
    case when estimated.null_reason is null then estimated.deals_at_risk end as deals_at_risk,
    estimated.deals_matured,
    {{ safe_rate('estimated.deals_matured', 'estimated.deals_in_cohort') }} as matured_share,
    estimated.deals_won as won_to_date_numerator,
    estimated.deals_in_cohort as won_to_date_denominator,
    {{ sampled_rate('estimated.deals_won', 'estimated.deals_in_cohort', 'estimated.min_sample') }} as won_to_date_rate,
    {{ wilson_low('estimated.deals_won', 'estimated.deals_in_cohort') }} as rate_low,
    {{ wilson_high('estimated.deals_won', 'estimated.deals_in_cohort') }} as rate_high,
    case
      when estimated.segment_type <> 'total' and not estimated.sample_too_small
        then {{ differs_from_rest(
          'estimated.deals_won', 'estimated.deals_in_cohort', 'estimated.compared_won', 'estimated.compared_deals',
          'estimated.segments_compared'
        ) }}
    end as differs_from_total,
    estimated.sample_too_small,
    estimated.deals_won as biased_win_rate_numerator,
    estimated.deals_rated as biased_win_rate_denominator,
    {{ sampled_rate('estimated.deals_won', 'estimated.deals_rated', 'estimated.min_sample') }} as biased_win_rate,
    case
      when estimated.horizon = 'to_date'
        and estimated.deals_won + estimated.deals_lost >= estimated.min_sample
        and abs(estimated.decided_rate - estimated.win_incidence) > 0.05
        then concat(
          'Of the deals closed so far ', cast(cast(round(100e0 * estimated.decided_rate) as int) as {{ dbt.type_string() }}),
          ' % were won (', cast(estimated.deals_won as {{ dbt.type_string() }}), ' of ',
          cast(estimated.deals_won + estimated.deals_lost as {{ dbt.type_string() }}), '). Counting the ',
          cast(estimated.deals_open as {{ dbt.type_string() }}), ' that are still open, ',
          cast(cast(round(100e0 * estimated.win_incidence) as int) as {{ dbt.type_string() }}), ' % are won within ',
          cast(estimated.horizon_days as {{ dbt.type_string() }}), ' days.'
        )
    end as bias_in_words,
    estimated.as_of,
    estimated.definition_version
  from estimated
  inner join history
    on estimated.period_type = history.period_type
      and estimated.period = history.period
)

select * from final
