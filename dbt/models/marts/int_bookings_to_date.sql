-- Bookings of a quarter by the end of each of its business days, as they were known on that evening: a win that was told
-- later counts from then on, and one that was taken back counts until then. What happens on a weekend counts with the business
-- day before it, and what happens before the first business day counts with the first.
{%- set segments = [('total', "'all'"), ('owner', 'owner'), ('team', 'team'), ('pipeline', 'pipeline'), ('region', 'region')] %}
with context as (
  select * from {{ ref('stg_run_context') }}
),

business_days as (
  select
    quarter_index,
    greatest(business_day_of_quarter, 1) as business_day
  from {{ ref('dim_date') }}
  group by quarter_index, greatest(business_day_of_quarter, 1)
),

won_now as (
  select
    days.quarter_index,
    deals.amount_base,
    owners.owner,
    owners.team,
    pipelines.pipeline,
    deals.region
  from {{ ref('fct_deals') }} as deals
  inner join {{ ref('dim_owner') }} as owners on deals.credit_owner_key = owners.owner_key
  inner join {{ ref('dim_pipeline') }} as pipelines on deals.pipeline_key = pipelines.pipeline_key
  inner join {{ ref('dim_date') }} as days on deals.won_on = days.date_day
  cross join context
  where deals.status = 'won' and not deals.is_deleted and deals.excluded_by is null and deals.won_on <= context.as_of
),

wholes_now as (
  {%- for segment_type, segment in segments %}
  select
    quarter_index,
    '{{ segment_type }}' as segment_type,
    {{ segment }} as segment,
    count(*) as deals_won,
    sum(amount_base) as won_amount
  from won_now
  group by quarter_index{{ ", " ~ segment if segment_type != 'total' }}
  {%- if not loop.last %}
  union all
  {%- endif %}
  {%- endfor %}
),

known as (
  select
    known.*,
    case when context.dates_won = 'event' then known.closed_on else coalesce(known.close_date, known.closed_on) end as won_on,
    context.as_of
  from {{ ref('int_states_as_known') }} as known
  cross join context
  where known.phase = 'won'
),

seen as (
  select
    days.quarter_index,
    greatest(known.known_from, known.won_on) as seen_from,
    known.known_to as seen_to,
    known.as_of,
    cast(known.amount_native * rates.rate as decimal(20, 3)) as amount_base,
    known.owner,
    known.team,
    known.pipeline,
    known.region
  from known
  inner join {{ ref('dim_date') }} as days on known.won_on = days.date_day
  left join {{ ref('int_fx_rates') }} as rates
    on known.currency = rates.currency
      and known.won_on >= rates.valid_from_date
      and known.won_on < rates.valid_to_date
  where known.known_to > greatest(known.known_from, known.won_on)
),

changes as (
  select seen.*, seen_from as changed_on, 1 as sign from seen
  union all
  select seen.*, seen_to as changed_on, -1 as sign from seen
),

-- changes after the quarter's end, and after as_of, are of no day of the quarter
told_on_days as (
  select
    changes.*,
    greatest(days.business_day_of_quarter, 1) as business_day
  from changes
  inner join {{ ref('dim_date') }} as days
    on changes.changed_on = days.date_day
      and changes.quarter_index = days.quarter_index
  where changes.changed_on <= changes.as_of
),

won_on_days as (
  {%- for segment_type, segment in segments %}
  select
    quarter_index,
    business_day,
    '{{ segment_type }}' as segment_type,
    {{ segment }} as segment,
    sum(sign) as deals_won,
    sum(sign * amount_base) as won_amount
  from told_on_days
  group by quarter_index, business_day{{ ", " ~ segment if segment_type != 'total' }}
  {%- if not loop.last %}
  union all
  {%- endif %}
  {%- endfor %}
),

-- a segment whose bookings were all taken back has had some
wholes as (
  select
    quarter_index,
    segment_type,
    segment,
    sum(deals_won) as quarter_deals_won,
    coalesce(sum(won_amount), 0) as quarter_won_amount
  from (
    select
      quarter_index,
      segment_type,
      segment,
      deals_won,
      won_amount
    from wholes_now
    union all
    select
      quarter_index,
      segment_type,
      segment,
      0 as deals_won,
      0 as won_amount
    from won_on_days
  ) as members
  where segment is not null
  group by quarter_index, segment_type, segment
),

final as (
  select
    wholes.quarter_index,
    wholes.segment_type,
    wholes.segment,
    cast(business_days.business_day as int) as business_day,
    cast(sum(coalesce(won_on_days.deals_won, 0)) over so_far as bigint) as deals_won,
    cast(sum(coalesce(won_on_days.won_amount, 0)) over so_far as decimal(38, 3)) as won_amount,
    cast(wholes.quarter_deals_won as bigint) as quarter_deals_won,
    cast(wholes.quarter_won_amount as decimal(38, 3)) as quarter_won_amount
  from wholes
  inner join business_days on wholes.quarter_index = business_days.quarter_index
  left join won_on_days
    on wholes.quarter_index = won_on_days.quarter_index
      and wholes.segment_type = won_on_days.segment_type
      and wholes.segment = won_on_days.segment
      and business_days.business_day = won_on_days.business_day
  window so_far as (
    partition by wholes.quarter_index, wholes.segment_type, wholes.segment
    order by business_days.business_day
    rows between unbounded preceding and current row
  )
)

select * from final
