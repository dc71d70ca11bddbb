-- What was said of a period then, and what is said of it now; deal by deal first, so that what cancels out is seen.
with context as (
  select * from {{ ref('stg_run_context') }}
),

freezes as (
  select * from {{ ref('int_period_freezes') }}
),

known as (
  select * from {{ ref('int_states_as_known') }}
),

rates as (
  select * from {{ ref('int_fx_rates') }}
),

known_rates as (
  select * from {{ ref('int_fx_rates_as_was') }}
),

open_then as (
  select
    freezes.period_type,
    freezes.period,
    known.deal_key,
    cast(known.amount_native * known_rates.rate as decimal(20, 3)) as amount
  from freezes
  inner join known
    on freezes.period_end >= known.known_from
      and freezes.period_end < known.known_to
  left join known_rates
    on freezes.period_end = known_rates.known_day
      and known.currency = known_rates.currency
      and freezes.period_end >= known_rates.valid_from_date
      and freezes.period_end < known_rates.valid_to_date
  where known.phase = 'open' and freezes.is_complete_period
),

open_now as (
  select
    freezes.period_type,
    freezes.period,
    states.deal_key,
    cast(states.amount_native * rates.rate as decimal(20, 3)) as amount
  from freezes
  inner join {{ ref('fct_pipeline_states') }} as states
    on freezes.period_end >= states.valid_from_date
      and freezes.period_end < states.valid_to_date
  left join rates
    on states.currency = rates.currency
      and freezes.period_end >= rates.valid_from_date
      and freezes.period_end < rates.valid_to_date
  where states.phase = 'open' and freezes.is_complete_period
),

won_then as (
  select
    freezes.period_type,
    freezes.period,
    known.deal_key,
    cast(known.amount_native * known_rates.rate as decimal(20, 3)) as amount
  from freezes
  cross join context
  inner join known
    on freezes.frozen_on >= known.known_from
      and freezes.frozen_on < known.known_to
      and case when context.dates_won = 'event' then known.closed_on else coalesce(known.close_date, known.closed_on) end
      between freezes.period_start and freezes.period_end
  left join known_rates
    on freezes.frozen_on = known_rates.known_day
      and known.currency = known_rates.currency
      and case when context.dates_won = 'event' then known.closed_on else coalesce(known.close_date, known.closed_on) end >= known_rates.valid_from_date
      and case when context.dates_won = 'event' then known.closed_on else coalesce(known.close_date, known.closed_on) end < known_rates.valid_to_date
  where known.phase = 'won' and freezes.is_frozen
),

won_now as (
  select
    freezes.period_type,
    freezes.period,
    deals.deal_key,
    deals.amount_base as amount
  from freezes
  inner join {{ ref('fct_deals') }} as deals on deals.won_on between freezes.period_start and freezes.period_end
  where deals.status = 'won' and not deals.is_deleted and deals.excluded_by is null and freezes.is_frozen
),

generated as (
  select
    generated.*,
    freezes.is_frozen as is_period_frozen
  from {{ ref('int_generated_deals') }} as generated
  inner join freezes
    on generated.period_type = freezes.period_type
      and generated.period = freezes.period
),

-- one row per deal and figure; a side without the deal has null for is_in
sides as (
  select 'open_pipeline' as figure, period_type, period, deal_key, 1 as is_then, 0 as is_now, amount as then_amount, null as now_amount from open_then
  union all
  select 'open_pipeline' as figure, period_type, period, deal_key, 0 as is_then, 1 as is_now, null as then_amount, amount as now_amount from open_now
  union all
  select 'bookings' as figure, period_type, period, deal_key, 1 as is_then, 0 as is_now, amount as then_amount, null as now_amount from won_then
  union all
  select 'bookings' as figure, period_type, period, deal_key, 0 as is_then, 1 as is_now, null as then_amount, amount as now_amount from won_now
  union all
  select concat('generation_', basis) as figure, period_type, period, deal_key, 1 as is_then, 0 as is_now, frozen_amount as then_amount, null as now_amount
  from generated
  where is_frozen
  union all
  select concat('generation_', basis) as figure, period_type, period, deal_key, 0 as is_then, 1 as is_now, null as then_amount, restated_amount as now_amount
  from generated
  where is_restated and is_period_frozen
),

deals as (
  select
    figure,
    period_type,
    period,
    deal_key,
    max(is_then) as is_then,
    max(is_now) as is_now,
    max(then_amount) as then_amount,
    max(now_amount) as now_amount
  from sides
  group by figure, period_type, period, deal_key
),

figures as (
  select 'open_pipeline' as figure
  union all
  select 'bookings' as figure
  union all
  select 'generation_created' as figure
  union all
  select 'generation_qualified' as figure
  from context
  where qualified_stage is not null
),

first_nights as (
  select min(as_of) as first_night_on
  from {{ ref('stg_runs') }}
  where run_kind = 'nightly'
),

final as (
  select
    figures.figure,
    freezes.period_type,
    freezes.period,
    freezes.period_start,
    freezes.period_end,
    case when figures.figure = 'open_pipeline' then freezes.period_end else freezes.frozen_on end as known_on,
    -- before the first night run nobody looked: the first load counts as known at once
    case
      when case when figures.figure = 'open_pipeline' then freezes.period_end else freezes.frozen_on end >= first_nights.first_night_on then 'history'
      else 'reconstructed'
    end as asof_quality,
    cast(coalesce(sum(deals.is_then), 0) as bigint) as deals_as_was,
    cast(coalesce(sum(deals.is_now), 0) as bigint) as deals_restated,
    cast(count(case
      when deals.is_then <> deals.is_now or coalesce(deals.then_amount, -1) <> coalesce(deals.now_amount, -1) then 1
    end) as bigint) as deals_changed,
    cast(coalesce(sum(deals.then_amount), case when coalesce(sum(deals.is_then), 0) = 0 then 0 end) as decimal(38, 3)) as as_was_amount,
    cast(coalesce(sum(deals.now_amount), case when coalesce(sum(deals.is_now), 0) = 0 then 0 end) as decimal(38, 3)) as restated_amount,
    cast(
      coalesce(sum(deals.now_amount), case when coalesce(sum(deals.is_now), 0) = 0 then 0 end)
      - coalesce(sum(deals.then_amount), case when coalesce(sum(deals.is_then), 0) = 0 then 0 end) as decimal(38, 3)
    ) as difference_amount,
    context.as_of,
    context.definition_version
  from freezes
  cross join figures
  cross join context
  cross join first_nights
  left join deals
    on figures.figure = deals.figure
      and freezes.period_type = deals.period_type
      and freezes.period = deals.period
  where case when figures.figure = 'open_pipeline' then freezes.is_complete_period else freezes.is_frozen end
  group by
    figures.figure,
    freezes.period_type,
    freezes.period,
    freezes.period_start,
    freezes.period_end,
    freezes.frozen_on,
    first_nights.first_night_on,
    context.as_of,
    context.definition_version
)

select * from final
