-- How long is long for a stage: what its later winners took. The limit is the ceil(share x (n + 1))-th shortest stay, so
-- that a deal as good as they were stays longer in at most 1 - share of cases, however few there are (the rank bound of
-- split conformal prediction); where n is too small for a limit, there is none: dead at 99.5 % needs 199 stays.
{%- set limits = [('slow', 'context.pace_slow'), ('stalled', 'context.pace_stalled'), ('dead', 'context.pace_dead')] %}
with context as (
  select * from {{ ref('stg_run_context') }}
),

-- only stays that were seen from their first day, of deals that are over: no open deal is measured by itself
stays as (
  select
    stays.stage_key,
    stays.deal_key,
    stays.visit_seq,
    stays.stay_days,
    outcomes.outcome
  from {{ ref('int_stage_durations') }} as stays
  inner join {{ ref('int_deal_outcomes') }} as outcomes on stays.deal_key = outcomes.deal_key
  where stays.counted_per = 'visit'
    and stays.is_usable
    and stays.is_completed
    and stays.seen_from_days = 0
    and outcomes.outcome in ('won', 'lost')
    and not outcomes.is_import
),

references_by_basis as (
  select stage_key, deal_key, visit_seq, stay_days, 'later_won' as pace_basis
  from stays
  where outcome = 'won'
  union all
  select stage_key, deal_key, visit_seq, stay_days, 'closed_deals' as pace_basis
  from stays
),

ranked as (
  select
    *,
    row_number() over (partition by stage_key, pace_basis order by stay_days, deal_key, visit_seq) as shortest_first,
    count(*) over (partition by stage_key, pace_basis) as visits
  from references_by_basis
),

-- 1e-9: 0.95 x 20 is 19, whatever the last binary digit says
measured as (
  select
    ranked.stage_key,
    ranked.pace_basis,
    max(ranked.visits) as reference_visits,
    {{ quantile('ranked.stay_days', 0.5) }} as median_days,
    {%- for name, share in limits %}
    max(case when ranked.shortest_first = ceil({{ share }} * (ranked.visits + 1) - 1e-9) then ranked.stay_days end) as {{ name }}_after_days{{ "," if not loop.last }}
    {%- endfor %}
  from ranked
  cross join context
  group by ranked.stage_key, ranked.pace_basis
),

chosen as (
  select
    measured.*,
    row_number() over (
      partition by measured.stage_key
      order by case measured.pace_basis when 'later_won' then 1 else 2 end
    ) as choice
  from measured
  cross join context
  where measured.reference_visits >= context.min_sample
),

final as (
  select
    stage_key,
    pace_basis,
    reference_visits,
    cast(median_days as double) as median_days,
    cast(slow_after_days as double) as slow_after_days,
    cast(stalled_after_days as double) as stalled_after_days,
    cast(dead_after_days as double) as dead_after_days
  from chosen
  where choice = 1
)

select * from final
