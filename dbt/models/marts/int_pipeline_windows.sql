{{ config(
  materialized='by_touched_deal', deal_column='deal_key', touched_by='int_touched_states', touched_periods='int_touched_periods',
  pre_hook='{{ mark_as_under_way() }}'
) }}
-- Each deal that was open in a window, or closed in it, with its state at both ends. The ends are those of the period
-- (net), or of a single day or of a span in which nothing but rates changed (gross), so that gross needs no day rows.
with context as (
  select * from {{ ref('stg_run_context') }}
),

states as (
  select * from {{ ref('fct_pipeline_states') }}
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

-- the touched deals in all periods, and all others in the touched ones
touched_states as (
  select * from states
  where deal_key in (select deal_key from {{ ref('int_touched_states') }})
),

other_states as (
  select * from states
  where deal_key not in (select deal_key from {{ ref('int_touched_states') }})
),

touched_periods as (
  select * from periods
  where period in (select period from {{ ref('int_touched_periods') }})
),

{%- set pairs = [('periods', 'touched_states'), ('touched_periods', 'other_states')] %}

{{ net_windows('periods', 'states', pairs) }},

-- a day on which the deal changed
gross_days as (
  {%- for pair_periods, pair_states in pairs %}
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
  from {{ pair_states }} as states
  inner join {{ pair_periods }} as periods on states.valid_from_date between periods.period_start and periods.through_day
  {%- if not loop.last %}
  union all
  {%- endif %}
  {%- endfor %}
),

-- and the days on which only the rate of its currency moved, as one span
gross_spans as (
  {%- for pair_periods, pair_states in pairs %}
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
  from {{ pair_states }} as states
  inner join context on states.currency <> context.currency
  inner join {{ pair_periods }} as periods
    on states.valid_from_date < periods.through_day
      and states.valid_to_date > {{ add_days('periods.from_day', 1) }}
  where states.phase = 'open'
    and {{ days_between('states.valid_from_date', 'states.valid_to_date') }} > 1
  {%- if not loop.last %}
  union all
  {%- endif %}
  {%- endfor %}
),

windows as (
  select * from net_windows
  union all
  select * from gross_days
  union all
  select * from gross_spans
),

{{ priced_windows('windows', 'states', ref('int_fx_rates')) }}

select * from priced
