-- Each deal that was open in a window, or closed in it, with its state at both ends. The ends are those of the period
-- (net), or of a single day or of a span in which nothing but rates changed (gross), so that gross needs no day rows.
{%- set sides = ['from', 'to'] %}
{%- set labels = ['owner', 'team', 'pipeline', 'region'] %}
with context as (
  select * from {{ ref('stg_run_context') }}
),

states as (
  select * from {{ ref('int_pipeline_states') }}
),

periods as (
  select
    periods.period_type,
    periods.period,
    periods.period_start,
    periods.period_end,
    {{ add_days('periods.period_start', -1) }} as from_day,
    least(periods.period_end, context.as_of) as through_day
  from {{ ref('int_periods') }} as periods
  cross join context
  where periods.period_type in ('week', 'month', 'quarter')
),

present as (
  select
    periods.period_type,
    periods.period,
    states.deal_key
  from states
  inner join periods
    on states.valid_from_date <= periods.through_day
      and states.valid_to_date > periods.from_day
  where states.phase = 'open'
  union
  select
    periods.period_type,
    periods.period,
    states.deal_key
  from states
  inner join periods
    on states.closed_on > periods.from_day
      and states.closed_on <= periods.through_day
),

net_windows as (
  select
    'net' as mode,
    periods.period_type,
    periods.period,
    periods.period_start,
    periods.period_end,
    periods.from_day,
    periods.through_day,
    present.deal_key,
    from_states.state_number as from_number,
    to_states.state_number as to_number
  from present
  inner join periods
    on present.period_type = periods.period_type
      and present.period = periods.period
  left join states as from_states
    on present.deal_key = from_states.deal_key
      and periods.from_day >= from_states.valid_from_date
      and periods.from_day < from_states.valid_to_date
  left join states as to_states
    on present.deal_key = to_states.deal_key
      and periods.through_day >= to_states.valid_from_date
      and periods.through_day < to_states.valid_to_date
),

-- a day on which the deal changed
gross_days as (
  select
    'gross' as mode,
    periods.period_type,
    periods.period,
    periods.period_start,
    periods.period_end,
    {{ add_days('states.valid_from_date', -1) }} as from_day,
    states.valid_from_date as through_day,
    states.deal_key,
    case when states.state_number > 1 then states.state_number - 1 end as from_number,
    states.state_number as to_number
  from states
  inner join periods on states.valid_from_date between periods.period_start and periods.through_day
),

-- and the days on which only the rate of its currency moved, as one span
gross_spans as (
  select
    'gross' as mode,
    periods.period_type,
    periods.period,
    periods.period_start,
    periods.period_end,
    greatest(states.valid_from_date, periods.from_day) as from_day,
    least({{ add_days('states.valid_to_date', -1) }}, periods.through_day) as through_day,
    states.deal_key,
    states.state_number as from_number,
    states.state_number as to_number
  from states
  inner join context on states.currency <> context.currency
  inner join periods
    on states.valid_from_date < periods.through_day
      and states.valid_to_date > {{ add_days('periods.from_day', 1) }}
  where states.phase = 'open'
    and {{ days_between('states.valid_from_date', 'states.valid_to_date') }} > 1
),

windows as (
  select * from net_windows
  union all
  select * from gross_days
  union all
  select * from gross_spans
),

paired as (
  select
    windows.mode,
    windows.period_type,
    windows.period,
    windows.period_start,
    windows.period_end,
    windows.from_day,
    windows.through_day,
    windows.deal_key,
    to_states.source_relation,
    case when to_states.first_seen_on > windows.from_day then 'none' else from_states.phase end as from_phase,
    case
      when to_states.phase in ('open', 'removed') then to_states.phase
      -- closed before the window: not part of it
      when to_states.closed_on > windows.from_day then to_states.phase
      else 'gone'
    end as to_phase,
    case
      when to_states.phase = 'won' and context.dates_won = 'close_date' then least(coalesce(to_states.close_date, to_states.closed_on), windows.through_day)
      when to_states.phase = 'lost' and context.dates_lost = 'close_date' then least(coalesce(to_states.close_date, to_states.closed_on), windows.through_day)
      else coalesce(to_states.closed_on, windows.through_day)
    end as to_rate_day,
    {%- for side in sides %}
      {%- for column in ['amount_native', 'currency', 'close_date', 'stage_key', 'owner_key', 'pipeline_key'] + labels %}
    {{ side }}_states.{{ column }} as {{ side }}_{{ column }},
      {%- endfor %}
    {%- endfor %}
    context.currency as reporting_currency
  from windows
  cross join context
  inner join states as to_states
    on windows.deal_key = to_states.deal_key
      and windows.to_number = to_states.state_number
  left join states as from_states
    on windows.deal_key = from_states.deal_key
      and windows.from_number = from_states.state_number
),

final as (
  select
    paired.mode,
    paired.period_type,
    paired.period,
    paired.period_start,
    paired.period_end,
    paired.from_day,
    paired.through_day,
    paired.deal_key,
    paired.source_relation,
    paired.from_phase,
    paired.to_phase,
    -- what an open deal was worth, what the same would be worth at the end's rate, and what it is worth then
    cast(case
      when paired.from_phase <> 'open' then null
      when paired.from_currency = paired.reporting_currency then paired.from_amount_native
      else paired.from_amount_native * from_rates.rate
    end as decimal(20, 3)) as from_amount,
    cast(case
      when paired.from_phase <> 'open' then null
      when paired.from_currency = paired.reporting_currency then paired.from_amount_native
      else paired.from_amount_native * kept_rates.rate
    end as decimal(20, 3)) as from_amount_at_end,
    cast(case
      when paired.to_currency = paired.reporting_currency then paired.to_amount_native
      else paired.to_amount_native * to_rates.rate
    end as decimal(20, 3)) as to_amount,
    paired.to_amount_native is null as is_amount_missing,
    {%- for side in sides %}
      {%- for column in ['close_date', 'stage_key', 'owner_key', 'pipeline_key'] + labels %}
    paired.{{ side }}_{{ column }},
      {%- endfor %}
    {%- endfor %}
    {%- for label in labels %}
    paired.from_phase = 'open' and paired.to_phase in ('open', 'won', 'lost', 'closed_other') and paired.from_{{ label }} <> paired.to_{{ label }} as is_{{ label }}_changed{{ "," if not loop.last }}
    {%- endfor %}
  from paired
  left join {{ ref('int_daily_rates') }} as from_rates
    on paired.from_currency = from_rates.currency
      and paired.from_day = from_rates.date_day
  left join {{ ref('int_daily_rates') }} as kept_rates
    on paired.from_currency = kept_rates.currency
      and paired.to_rate_day = kept_rates.date_day
  left join {{ ref('int_daily_rates') }} as to_rates
    on paired.to_currency = to_rates.currency
      and paired.to_rate_day = to_rates.date_day
  where paired.from_phase = 'open' or paired.to_phase in ('open', 'won', 'lost', 'closed_other')
)

select * from final
