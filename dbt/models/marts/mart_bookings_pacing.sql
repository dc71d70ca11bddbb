-- Each quarter learns from the eight before it, whole ones alone, and never from itself or a later one. Quarters of different
-- length are laid over each other by the share of their business days that is over, straight between two days.
with context as (
  select * from {{ ref('stg_run_context') }}
),

quarters as (
  select
    quarter_label,
    quarter_index,
    quarter_start_on,
    quarter_end_on,
    cast(quarter_offset as int) as quarter_offset,
    greatest(max(business_day_of_quarter), 1) as business_days
  from {{ ref('dim_date') }}
  group by quarter_label, quarter_index, quarter_start_on, quarter_end_on, quarter_offset
),

days as (
  select
    quarter_index,
    greatest(business_day_of_quarter, 1) as business_day,
    min(case when is_business_day then date_day end) as business_day_on,
    min(date_day) as first_day_on,
    max(date_day) as last_day_on
  from {{ ref('dim_date') }}
  group by quarter_index, greatest(business_day_of_quarter, 1)
),

-- a quarter that began before closes were recorded tells too little of its first days
histories as (
  select
    max(complete_from_on) as complete_from_on,
    min(first_outcome_on) as first_outcome_on
  from {{ ref('int_sales_history') }}
),

targets as (
  select
    quarters.*,
    case when coalesce(quarters.quarter_start_on >= histories.complete_from_on, false) then 'full' else 'left_truncated' end as history_status
  from quarters
  cross join histories
  where quarters.quarter_offset between -8 and 0
    and (quarters.quarter_offset = 0 or quarters.quarter_end_on >= histories.first_outcome_on)
),

comparisons as (
  select
    targets.quarter_index,
    past.quarter_index as past_index,
    past.business_days as past_business_days
  from targets
  inner join quarters as past on past.quarter_index between targets.quarter_index - 8 and targets.quarter_index - 1
  cross join histories
  where past.quarter_start_on >= histories.complete_from_on
),

compared_quarters as (
  select
    quarter_index,
    count(*) as quarters_compared
  from comparisons
  group by quarter_index
),

-- how far the past quarter was when as large a share of its business days was over
positions as (
  select
    comparisons.quarter_index,
    comparisons.past_index,
    days.business_day,
    targets.business_days,
    cast(floor(days.business_day * comparisons.past_business_days * 1e0 / targets.business_days) as int) as whole_days,
    days.business_day * comparisons.past_business_days
    - cast(floor(days.business_day * comparisons.past_business_days * 1e0 / targets.business_days) as int) * targets.business_days as part_of_day
  from comparisons
  inner join targets on comparisons.quarter_index = targets.quarter_index
  inner join days on targets.quarter_index = days.quarter_index
),

past_wholes as (
  select distinct
    quarter_index as past_index,
    segment_type,
    segment,
    quarter_deals_won,
    quarter_won_amount
  from {{ ref('int_bookings_to_date') }}
),

past_days as (
  select
    positions.quarter_index,
    positions.business_day,
    past_wholes.segment_type,
    past_wholes.segment,
    past_wholes.quarter_deals_won,
    past_wholes.quarter_won_amount,
    coalesce(lower_day.won_amount, 0)
    + cast(
      cast(coalesce(upper_day.won_amount, lower_day.won_amount, 0) - coalesce(lower_day.won_amount, 0) as double)
      * positions.part_of_day / positions.business_days
      as decimal(38, 3)
    ) as won_by_then
  from positions
  inner join past_wholes on positions.past_index = past_wholes.past_index
  left join {{ ref('int_bookings_to_date') }} as lower_day
    on positions.past_index = lower_day.quarter_index
      and past_wholes.segment_type = lower_day.segment_type
      and past_wholes.segment = lower_day.segment
      and positions.whole_days = lower_day.business_day
  left join {{ ref('int_bookings_to_date') }} as upper_day
    on positions.past_index = upper_day.quarter_index
      and past_wholes.segment_type = upper_day.segment_type
      and past_wholes.segment = upper_day.segment
      and positions.whole_days + 1 = upper_day.business_day
),

learned as (
  select
    quarter_index,
    business_day,
    segment_type,
    segment,
    sum(quarter_deals_won) as deals_then,
    sum(won_by_then) as won_by_then,
    sum(quarter_won_amount) as won_then,
    min({{ safe_rate('won_by_then', 'quarter_won_amount') }}) as lowest_share,
    max({{ safe_rate('won_by_then', 'quarter_won_amount') }}) as highest_share
  from past_days
  group by quarter_index, business_day, segment_type, segment
),

-- a segment without a booking has its rows where it has a quota, a past, or bookings; and the total always
members as (
  select
    targets.quarter_index,
    'total' as segment_type,
    'all' as segment
  from targets
  union
  select
    bookings.quarter_index,
    bookings.segment_type,
    bookings.segment
  from {{ ref('int_bookings_to_date') }} as bookings
  inner join targets on bookings.quarter_index = targets.quarter_index
  union
  select
    quarter_index,
    segment_type,
    segment
  from learned
  union
  select
    targets.quarter_index,
    quotas.segment_type,
    quotas.segment
  from {{ ref('fct_quota') }} as quotas
  inner join targets on quotas.period = targets.quarter_label
  where quotas.period_type = 'quarter' and quotas.segment_type in ('total', 'owner', 'team', 'pipeline', 'region')
),

joined as (
  select
    targets.quarter_index,
    targets.quarter_label as period,
    targets.quarter_start_on as period_start,
    targets.quarter_end_on as period_end,
    targets.quarter_offset,
    targets.business_days,
    targets.history_status,
    members.segment_type,
    members.segment,
    days.business_day,
    coalesce(days.business_day_on, days.first_day_on) as day_on,
    days.last_day_on,
    days.first_day_on <= context.as_of as is_reached,
    context.as_of between days.first_day_on and days.last_day_on as is_as_of_day,
    case when days.first_day_on <= context.as_of then coalesce(bookings.won_amount, 0) end as won_amount,
    case when days.first_day_on <= context.as_of then coalesce(bookings.deals_won, 0) end as deals_won,
    case when targets.quarter_end_on <= context.as_of then bookings.quarter_won_amount end as quarter_won_amount,
    quotas.quota_amount,
    compared_quarters.quarters_compared,
    case when compared_quarters.quarters_compared > 0 then coalesce(own.won_by_then, 0) end as past_by_then,
    case when compared_quarters.quarters_compared > 0 then coalesce(own.won_then, 0) end as past_whole,
    case
      when own.deals_then >= context.min_sample then 'own'
      when totals.deals_then >= context.min_sample then 'total'
    end as expected_share_basis,
    own.won_by_then as own_by_then,
    own.won_then as own_then,
    own.lowest_share as own_lowest,
    own.highest_share as own_highest,
    totals.won_by_then as total_by_then,
    totals.won_then as total_then,
    totals.lowest_share as total_lowest,
    totals.highest_share as total_highest,
    context.as_of,
    context.definition_version
  from members
  cross join context
  inner join targets on members.quarter_index = targets.quarter_index
  inner join days on members.quarter_index = days.quarter_index
  left join compared_quarters on members.quarter_index = compared_quarters.quarter_index
  left join {{ ref('int_bookings_to_date') }} as bookings
    on members.quarter_index = bookings.quarter_index
      and members.segment_type = bookings.segment_type
      and members.segment = bookings.segment
      and days.business_day = bookings.business_day
  left join learned as own
    on members.quarter_index = own.quarter_index
      and members.segment_type = own.segment_type
      and members.segment = own.segment
      and days.business_day = own.business_day
  left join learned as totals
    on members.quarter_index = totals.quarter_index
      and totals.segment_type = 'total'
      and days.business_day = totals.business_day
  left join {{ ref('fct_quota') }} as quotas
    on quotas.period_type = 'quarter'
      and targets.quarter_label = quotas.period
      and members.segment_type = quotas.segment_type
      and members.segment = quotas.segment
),

expected as (
  select
    *,
    case expected_share_basis when 'own' then own_by_then when 'total' then total_by_then end as expected_share_numerator,
    case expected_share_basis when 'own' then own_then when 'total' then total_then end as expected_share_denominator,
    case expected_share_basis when 'own' then own_lowest when 'total' then total_lowest end as expected_share_low,
    case expected_share_basis when 'own' then own_highest when 'total' then total_highest end as expected_share_high,
    case when quota_amount > 0 then cast(won_amount as double) / cast(quota_amount as double) end as quota_attainment,
    case when past_whole > 0 then cast(won_amount as double) * quarters_compared / cast(past_whole as double) end as past_attainment
  from joined
),

shared as (
  select
    *,
    {{ safe_rate('expected_share_numerator', 'expected_share_denominator') }} as expected_share,
    {{ safe_rate('past_by_then', 'past_whole') }} as past_share
  from expected
),

-- on which business day the expected curve stands where the quarter is now
reached as (
  select
    here.quarter_index,
    here.segment_type,
    here.segment,
    here.business_day,
    count(case when round(there.expected_share, 9) <= round(here.quota_attainment, 9) then 1 end) as day_by_quota,
    count(case when round(there.past_share, 9) <= round(here.past_attainment, 9) then 1 end) as day_by_past
  from shared as here
  inner join shared as there
    on here.quarter_index = there.quarter_index
      and here.segment_type = there.segment_type
      and here.segment = there.segment
  where here.is_reached
  group by here.quarter_index, here.segment_type, here.segment, here.business_day
),

final as (
  select
    'quarter' as period_type,
    shared.period,
    shared.period_start,
    shared.period_end,
    shared.quarter_offset,
    shared.period_end <= shared.as_of as is_complete_period,
    shared.history_status,
    shared.segment_type,
    shared.segment,
    cast(shared.business_day as int) as business_day,
    cast(shared.business_days as int) as business_days,
    shared.day_on,
    shared.last_day_on,
    shared.is_reached,
    shared.is_as_of_day,
    cast(shared.deals_won as bigint) as deals_won,
    cast(shared.won_amount as decimal(38, 3)) as won_amount,
    {{ safe_rate('shared.won_amount', 'shared.quarter_won_amount') }} as won_share,
    shared.expected_share,
    cast(shared.expected_share_numerator as decimal(38, 3)) as expected_share_numerator,
    cast(shared.expected_share_denominator as decimal(38, 3)) as expected_share_denominator,
    shared.expected_share_low,
    shared.expected_share_high,
    shared.expected_share_basis,
    cast(coalesce(shared.quarters_compared, 0) as int) as quarters_compared,
    shared.expected_share is null as sample_too_small,
    cast(cast(shared.past_by_then as double) / shared.quarters_compared as decimal(38, 3)) as past_amount,
    cast(cast(shared.won_amount as double) - cast(shared.past_by_then as double) / shared.quarters_compared as decimal(38, 3)) as ahead_of_past_amount,
    cast(case
      when round(shared.past_share, 9) = round(shared.past_attainment, 9) then 0
      when shared.past_attainment is not null then reached.day_by_past - shared.business_day
    end as int) as ahead_of_past_days,
    shared.quota_amount,
    shared.quota_attainment,
    shared.quota_attainment - shared.expected_share as pacing,
    cast(cast(shared.quota_amount as double) * shared.expected_share as decimal(38, 3)) as quota_to_date_amount,
    cast(cast(shared.won_amount as double) - cast(shared.quota_amount as double) * shared.expected_share as decimal(38, 3)) as ahead_of_quota_amount,
    cast(case
      when round(shared.expected_share, 9) = round(shared.quota_attainment, 9) then 0
      when shared.expected_share is not null and shared.quota_attainment is not null then reached.day_by_quota - shared.business_day
    end as int) as ahead_of_quota_days,
    shared.as_of,
    shared.definition_version
  from shared
  left join reached
    on shared.quarter_index = reached.quarter_index
      and shared.segment_type = reached.segment_type
      and shared.segment = reached.segment
      and shared.business_day = reached.business_day
)

select * from final
