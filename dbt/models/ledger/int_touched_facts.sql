{{ config(post_hook='{{ forget_applied() }}') }}
-- The touched deals, and those whose versions or transitions would be completed in another way than before: by another
-- rate, by another calendar, with others left out of the metrics, or because a mass change they were part of has become one or is none any more.
with applied as (
  select input, item, item_at, digest
  from ({{ applied_inputs() }})
  where input in ('rate', 'calendar', 'mass change', 'exclusion')
),

changed as (
  select
    coalesce(told.input, applied.input) as input,
    coalesce(told.item, applied.item) as item,
    coalesce(told.item_at, applied.item_at) as item_at
  from {{ ref('int_fact_inputs') }} as told
  full outer join applied
    on told.input = applied.input
      and told.item = applied.item
      and coalesce(told.item_at, timestamp '1900-01-01 00:00:00') = coalesce(applied.item_at, timestamp '1900-01-01 00:00:00')
  where not coalesce(told.digest = applied.digest, false)
),

-- a day with another rate lies in a span that is not as it was, so not before the first of these
changed_rates as (
  select
    item as currency,
    cast(min(item_at) as date) as first_day
  from changed
  where input = 'rate'
  group by item
),

changed_minutes as (
  select item, item_at
  from changed
  where input = 'mass change'
),

final as (
  select deal_sk, deal_key
  from {{ ref('int_touched_deals') }}
  union
  select deals.deal_sk, deals.deal_key
  from {{ ref('int_deals') }} as deals
  inner join {{ ref('int_deal_states') }} as states on deals.deal_sk = states.deal_sk
  inner join changed_rates
    on states.currency = changed_rates.currency
      and states.business_date >= changed_rates.first_day
  union
  select moves.deal_sk, moves.deal_key
  from {{ ref('int_stage_moves') }} as moves
  inner join changed_minutes
    on concat(moves.source_relation, '|', moves.changed_by) = changed_minutes.item
      and date_trunc('minute', moves.transitioned_at) = changed_minutes.item_at
  union
  select deal_sk, deal_key
  from {{ ref('int_deals') }}
  where exists (select 1 from changed where input in ('calendar', 'exclusion'))
)

select * from final
