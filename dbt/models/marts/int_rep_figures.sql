-- What each rep did in each period: once by who had the deal at the time, once by who has it now. An owner is a name, as in
-- all segments: a rep who works in two CRMs is one rep.
{%- set variants = [('at_the_time', ['creator', 'closer', 'holder']), ('current_owner', ['current_owner', 'current_owner', 'current_owner'])] %}
with context as (
  select * from {{ ref('stg_run_context') }}
),

periods as (
  select
    periods.*,
    least(periods.period_end, context.as_of) as through_day
  from {{ ref('int_periods') }} as periods
  cross join context
  where periods.period_type in ('month', 'quarter', 'year')
),

period_days as (
  {%- for period_type in ['month', 'quarter', 'year'] %}
  select
    date_day,
    '{{ period_type }}' as period_type,
    {{ period_type }}_label as period
  from {{ ref('dim_date') }}
  where is_complete
  {%- if not loop.last %}
  union all
  {%- endif %}
  {%- endfor %}
),

states as (
  select * from {{ ref('fct_pipeline_states') }}
),

-- who created a deal is who had it at the end of its first day in scope
creators as (
  select
    deal_key,
    {{ first_value_by('owner', ['state_number'], "phase <> 'excluded'") }} as owner
  from states
  group by deal_key
),

-- of deleted and merged deals too: they were in somebody's pipeline before
current_owners as (
  select
    versions.deal_key,
    owners.owner
  from {{ ref('fct_deal_versions') }} as versions
  cross join context
  inner join {{ ref('dim_owner') }} as owners on versions.owner_key = owners.owner_key
  where versions.valid_from_date <= context.as_of
    and (versions.valid_to_date is null or versions.valid_to_date > context.as_of)
),

deals as (
  select
    outcomes.deal_key,
    outcomes.started_on,
    outcomes.outcome,
    -- an open deal that counts as lost ends on that day for the win rate alone
    coalesce(outcomes.outcome_on, rated.win_rate_on) as ended_on,
    rated.win_rate_side,
    rated.is_stale_open,
    outcomes.cycle_days,
    deals.amount_base,
    creators.owner as creator,
    closers.owner as closer,
    current_owners.owner as current_owner
  from {{ ref('int_deal_outcomes') }} as outcomes
  inner join {{ ref('fct_rated_deals') }} as rated on outcomes.deal_key = rated.deal_key
  inner join {{ ref('fct_deals') }} as deals on outcomes.deal_key = deals.deal_key
  inner join creators on outcomes.deal_key = creators.deal_key
  inner join {{ ref('dim_owner') }} as closers on deals.credit_owner_key = closers.owner_key
  inner join current_owners on outcomes.deal_key = current_owners.deal_key
),

-- the evening of a past period is the one of its own owners and rates
evenings as (
  select
    periods.period_type,
    periods.period,
    states.owner as holder,
    current_owners.owner as current_owner,
    states.amount_native * rates.rate as amount
  from periods
  inner join states
    on periods.through_day >= states.valid_from_date
      and periods.through_day < states.valid_to_date
  inner join current_owners on states.deal_key = current_owners.deal_key
  left join {{ ref('int_fx_rates') }} as rates
    on states.currency = rates.currency
      and periods.through_day >= rates.valid_from_date
      and periods.through_day < rates.valid_to_date
  where states.phase = 'open'
),

parts as (
  {%- for credit, roles in variants %}
  select
    '{{ credit }}' as credit,
    days.period_type,
    days.period,
    deals.{{ roles[0] }} as owner,
    count(*) as deals_created,
    0 as deals_won,
    0 as deals_lost,
    0 as deals_rated_won,
    0 as deals_rated_lost,
    0 as deals_excluded,
    0 as deals_stale_open,
    0 as deals_won_with_amount,
    cast(null as decimal(38, 3)) as won_amount,
    0 as deals_in_cycle,
    cast(null as double) as cycle_median_days,
    0 as deals_open,
    0 as deals_open_with_amount,
    cast(null as decimal(38, 3)) as open_amount
  from deals
  inner join period_days as days on deals.started_on = days.date_day
  group by days.period_type, days.period, deals.{{ roles[0] }}
  union all
  select
    '{{ credit }}' as credit,
    days.period_type,
    days.period,
    deals.{{ roles[1] }} as owner,
    0 as deals_created,
    count(case when deals.outcome = 'won' then 1 end) as deals_won,
    count(case when deals.outcome = 'lost' then 1 end) as deals_lost,
    count(case when deals.win_rate_side = 'won' then 1 end) as deals_rated_won,
    count(case when deals.win_rate_side = 'lost' then 1 end) as deals_rated_lost,
    count(case when deals.win_rate_side = 'excluded' then 1 end) as deals_excluded,
    count(case when deals.win_rate_side = 'lost' and deals.is_stale_open then 1 end) as deals_stale_open,
    count(case when deals.outcome = 'won' then deals.amount_base end) as deals_won_with_amount,
    cast(sum(case when deals.outcome = 'won' then deals.amount_base end) as decimal(38, 3)) as won_amount,
    count(deals.cycle_days) as deals_in_cycle,
    {{ quantile('cast(deals.cycle_days as double)', 0.5) }} as cycle_median_days,
    0 as deals_open,
    0 as deals_open_with_amount,
    null as open_amount
  from deals
  inner join period_days as days on deals.ended_on = days.date_day
  group by days.period_type, days.period, deals.{{ roles[1] }}
  union all
  select
    '{{ credit }}' as credit,
    evenings.period_type,
    evenings.period,
    evenings.{{ roles[2] }} as owner,
    0 as deals_created,
    0 as deals_won,
    0 as deals_lost,
    0 as deals_rated_won,
    0 as deals_rated_lost,
    0 as deals_excluded,
    0 as deals_stale_open,
    0 as deals_won_with_amount,
    null as won_amount,
    0 as deals_in_cycle,
    null as cycle_median_days,
    count(*) as deals_open,
    count(evenings.amount) as deals_open_with_amount,
    cast(sum(evenings.amount) as decimal(38, 3)) as open_amount
  from evenings
  group by evenings.period_type, evenings.period, evenings.{{ roles[2] }}
  union all
  {%- endfor %}
  -- a rep with a quota and nothing done has a row
  select
    'at_the_time' as credit,
    quotas.period_type,
    quotas.period,
    quotas.segment as owner,
    0 as deals_created,
    0 as deals_won,
    0 as deals_lost,
    0 as deals_rated_won,
    0 as deals_rated_lost,
    0 as deals_excluded,
    0 as deals_stale_open,
    0 as deals_won_with_amount,
    null as won_amount,
    0 as deals_in_cycle,
    null as cycle_median_days,
    0 as deals_open,
    0 as deals_open_with_amount,
    null as open_amount
  from {{ ref('fct_quota') }} as quotas
  inner join periods
    on quotas.period_type = periods.period_type
      and quotas.period = periods.period
  where quotas.segment_type = 'owner'
),

final as (
  select
    parts.credit,
    parts.period_type,
    parts.period,
    periods.period_start,
    periods.period_end,
    periods.is_complete_period,
    periods.through_day,
    parts.owner,
    {%- for column in [
      'deals_created', 'deals_won', 'deals_lost', 'deals_rated_won', 'deals_rated_lost', 'deals_excluded', 'deals_stale_open',
      'deals_won_with_amount', 'deals_in_cycle', 'deals_open', 'deals_open_with_amount'
    ] %}
    cast(sum(parts.{{ column }}) as bigint) as {{ column }},
    {%- endfor %}
    -- nothing won is zero; won without amounts is not known
    cast(coalesce(sum(parts.won_amount), case when sum(parts.deals_won) = 0 then 0 end) as decimal(38, 3)) as won_amount,
    max(parts.cycle_median_days) as cycle_median_days,
    cast(coalesce(sum(parts.open_amount), case when sum(parts.deals_open) = 0 then 0 end) as decimal(38, 3)) as open_amount
  from parts
  inner join periods
    on parts.period_type = periods.period_type
      and parts.period = periods.period
  group by
    parts.credit,
    parts.period_type,
    parts.period,
    periods.period_start,
    periods.period_end,
    periods.is_complete_period,
    periods.through_day,
    parts.owner
)

select * from final
