{#- Figures that stand beside the median of the rep's team. #}
{%- set compared_figures = [
  'deals_created', 'deals_won', 'win_rate_count', 'won_amount', 'avg_deal_amount', 'sales_cycle_median_days', 'open_amount',
  'pipeline_coverage_start', 'push_rate', 'hygiene_score', 'quota_attainment'
] %}
with context as (
  select * from {{ ref('stg_run_context') }}
),

sources as (
  select
    min(complete_from_on) as first_complete_from_on,
    max(complete_from_on) as all_complete_from_on
  from {{ ref('int_sales_history') }}
),

-- where two owners bear one name, there is no one key and no one team
people as (
  select
    owner,
    case when min(owner_key) = max(owner_key) then min(owner_key) end as owner_key,
    case when min(team) = max(team) then min(team) else '(several)' end as team
  from {{ ref('dim_owner') }}
  group by owner
),

hygiene as (
  select
    owner,
    sum(hygiene_score_numerator) as rules_kept,
    sum(hygiene_score_denominator) as rules_checked
  from {{ ref('mart_deal_health') }}
  where status = 'open'
  group by owner
),

figures as (
  select
    figures.*,
    figures.deals_rated_won + figures.deals_rated_lost as deals_decided,
    people.owner_key,
    people.team,
    quotas.quota_amount,
    slips.deals_any as deals_due,
    slips.deals_any_pushed as deals_due_pushed,
    slips.start_amount as due_at_start_amount,
    hygiene.rules_kept,
    hygiene.rules_checked,
    context.min_sample,
    context.min_sample_median,
    context.as_of,
    context.definition_version
  from {{ ref('int_rep_figures') }} as figures
  cross join context
  left join people on figures.owner = people.owner
  left join {{ ref('fct_quota') }} as quotas
    on figures.credit = 'at_the_time'
      and quotas.segment_type = 'owner'
      and figures.owner = quotas.segment
      and figures.period_type = quotas.period_type
      and figures.period = quotas.period
  left join {{ ref('mart_close_date_slippage') }} as slips
    on figures.credit = 'at_the_time'
      and slips.segment_type = 'owner'
      and figures.owner = slips.segment
      and figures.period_type = slips.period_type
      and figures.period = slips.period
  left join hygiene
    on figures.owner = hygiene.owner
      and figures.through_day = context.as_of
),

measured as (
  select
    *,
    {{ sampled_rate('deals_rated_won', 'deals_decided', 'min_sample') }} as win_rate_count,
    case when deals_won_with_amount > 0 then cast(won_amount as double) / deals_won_with_amount end as avg_deal_amount,
    case when deals_in_cycle >= min_sample_median then cycle_median_days end as sales_cycle_median_days,
    {{ safe_rate('due_at_start_amount', 'quota_amount') }} as pipeline_coverage_start,
    {{ sampled_rate('deals_due_pushed', 'deals_due', 'min_sample') }} as push_rate,
    {{ safe_rate('rules_kept', 'rules_checked') }} as hygiene_score,
    {{ safe_rate('won_amount', 'quota_amount') }} as quota_attainment,
    sum(deals_rated_won) over all_reps as total_won,
    sum(deals_decided) over all_reps as total_decided,
    count(case when deals_decided >= min_sample then 1 end) over all_reps as reps_compared
  from figures
  window all_reps as (partition by credit, period_type, period)
),

team_medians as (
  select
    credit,
    period_type,
    period,
    team,
    count(*) as reps_in_team,
    {%- for figure in compared_figures %}
    case when count({{ figure }}) > 1 then {{ quantile('cast(' ~ figure ~ ' as double)', 0.5) }} end as team_{{ figure }}{{ "," if not loop.last }}
    {%- endfor %}
  from measured
  where owner <> '(none)' and team is not null
  group by credit, period_type, period, team
),

final as (
  select
    measured.credit,
    measured.period_type,
    measured.period,
    measured.period_start,
    measured.period_end,
    measured.is_complete_period,
    case
      when measured.period_start >= sources.all_complete_from_on then 'full'
      when measured.period_start < sources.first_complete_from_on then 'left_truncated'
      else 'partial'
    end as history_status,
    measured.owner,
    measured.owner_key,
    coalesce(measured.team, '(none)') as team,
    coalesce(team_medians.reps_in_team, 0) as reps_in_team,
    measured.deals_created,
    team_medians.team_deals_created as team_median_deals_created,
    measured.deals_won,
    team_medians.team_deals_won as team_median_deals_won,
    measured.deals_lost,
    measured.deals_excluded,
    measured.deals_stale_open,
    measured.win_rate_count,
    measured.deals_rated_won as win_rate_count_numerator,
    measured.deals_decided as win_rate_count_denominator,
    {{ wilson_low('measured.deals_rated_won', 'measured.deals_decided') }} as rate_low,
    {{ wilson_high('measured.deals_rated_won', 'measured.deals_decided') }} as rate_high,
    case
      when measured.deals_decided >= measured.min_sample
        then {{ differs_from_rest('measured.deals_rated_won', 'measured.deals_decided', 'measured.total_won', 'measured.total_decided', 'measured.reps_compared') }}
    end as differs_from_total,
    cast(measured.reps_compared as bigint) as reps_compared,
    measured.deals_decided < measured.min_sample as sample_too_small,
    team_medians.team_win_rate_count as team_median_win_rate_count,
    measured.won_amount,
    cast(team_medians.team_won_amount as decimal(38, 3)) as team_median_won_amount,
    measured.deals_won_with_amount,
    cast(measured.avg_deal_amount as decimal(20, 3)) as avg_deal_amount,
    cast(team_medians.team_avg_deal_amount as decimal(20, 3)) as team_median_avg_deal_amount,
    measured.deals_in_cycle,
    measured.sales_cycle_median_days,
    team_medians.team_sales_cycle_median_days as team_median_sales_cycle_days,
    measured.deals_open,
    measured.deals_open_with_amount,
    measured.open_amount,
    cast(team_medians.team_open_amount as decimal(38, 3)) as team_median_open_amount,
    cast(measured.quota_amount as decimal(20, 3)) as quota_amount,
    measured.quota_attainment,
    team_medians.team_quota_attainment as team_median_quota_attainment,
    cast(measured.due_at_start_amount as decimal(38, 3)) as due_at_start_amount,
    measured.pipeline_coverage_start,
    team_medians.team_pipeline_coverage_start as team_median_pipeline_coverage_start,
    measured.push_rate,
    measured.deals_due_pushed as push_rate_numerator,
    measured.deals_due as push_rate_denominator,
    team_medians.team_push_rate as team_median_push_rate,
    measured.hygiene_score,
    cast(measured.rules_kept as bigint) as hygiene_score_numerator,
    cast(measured.rules_checked as bigint) as hygiene_score_denominator,
    team_medians.team_hygiene_score as team_median_hygiene_score,
    measured.as_of,
    measured.definition_version
  from measured
  cross join sources
  left join team_medians
    on measured.credit = team_medians.credit
      and measured.period_type = team_medians.period_type
      and measured.period = team_medians.period
      and measured.team = team_medians.team
      and measured.owner <> '(none)'
)

select * from final
