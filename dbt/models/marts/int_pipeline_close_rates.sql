-- What in-period pipeline of a day was worth in the past: bookings of the rest of the quarter over the pipeline open on the
-- same day of the quarter, over the last eight quarters that are complete.
{%- set segments = [('total', "'all'"), ('owner', 'owner'), ('team', 'team'), ('pipeline', 'pipeline'), ('region', 'region')] %}
with context as (
  select * from {{ ref('stg_run_context') }}
),

qualified_stages as (
  select stages.stage_key
  from {{ ref('dim_stage') }} as stages
  inner join (
    select
      named.pipeline_key,
      min(named.stage_order) as qualified_order
    from {{ ref('dim_stage') }} as named
    inner join context on lower(context.qualified_stage) in (lower(named.stage), lower(named.stage_id))
    where named.is_open
    group by named.pipeline_key
  ) as firsts
    on stages.pipeline_key = firsts.pipeline_key
      and stages.stage_order >= firsts.qualified_order
),

quarters as (
  select
    quarter_label,
    quarter_index,
    quarter_start_on,
    quarter_end_on,
    cast(quarter_offset as int) as quarter_offset
  from {{ ref('dim_date') }}
  group by quarter_label, quarter_index, quarter_start_on, quarter_end_on, quarter_offset
),

this_day as (
  select calendar.day_of_quarter
  from {{ ref('dim_date') }} as calendar
  inner join context on calendar.date_day = context.as_of
),

-- the days to compare with: same day of an earlier quarter, and the target that lay as many quarters ahead
probes as (
  select
    ahead.quarters_ahead,
    origins.quarter_index as origin_index,
    least({{ add_days('origins.quarter_start_on', 'this_day.day_of_quarter - 1') }}, origins.quarter_end_on) as probe_day,
    targets.quarter_start_on as target_start_on,
    targets.quarter_end_on as target_end_on
  from quarters as origins
  cross join this_day
  cross join (
    {%- for quarters_ahead in range(5) %}
    select {{ quarters_ahead }} as quarters_ahead
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
  ) as ahead
  inner join quarters as targets on targets.quarter_index = origins.quarter_index + ahead.quarters_ahead
  where targets.quarter_offset between -8 and -1
),

-- a quarter that began before the log is whole tells too little pipeline
told as (
  select
    probes.*
  from probes
  cross join (select max(full_from_on) as full_from_on from {{ ref('int_source_history') }}) as history
  where probes.probe_day >= history.full_from_on
),

-- where dead deals cover nothing, those that were dead then did not either; by today's limits, the best that are known
dead_then as (
  select
    told.quarters_ahead,
    told.origin_index,
    visits.deal_key
  from told
  inner join context on context.coverage_exclude_dead
  inner join {{ ref('int_stage_visits') }} as visits
    on visits.is_open_stage
      and told.probe_day >= visits.entered_on
      and (visits.exited_on is null or told.probe_day < visits.exited_on)
  inner join {{ ref('int_stage_pace') }} as pace
    on visits.stage_key = pace.stage_key
  where (
    {{ epoch_us(utc_instant(add_days('told.probe_day', 1), 'context.time_zone')) }} - {{ epoch_us('visits.entered_at') }}
  ) / 86400000000.0 > pace.dead_after_days
  group by told.quarters_ahead, told.origin_index, visits.deal_key
),

open_then as (
  select
    told.quarters_ahead,
    told.origin_index,
    states.deal_key,
    states.owner,
    states.team,
    states.pipeline,
    states.region,
    cast(states.amount_native * rates.rate as decimal(20, 3)) as open_amount
  from told
  cross join context
  inner join {{ ref('fct_pipeline_states') }} as states
    on told.probe_day >= states.valid_from_date
      and told.probe_day < states.valid_to_date
      and states.close_date <= told.target_end_on
      and (states.close_date >= told.target_start_on or (context.coverage_include_past_due and told.quarters_ahead = 0))
  left join dead_then
    on told.quarters_ahead = dead_then.quarters_ahead
      and told.origin_index = dead_then.origin_index
      and states.deal_key = dead_then.deal_key
  left join qualified_stages on states.stage_key = qualified_stages.stage_key
  left join {{ ref('int_fx_rates') }} as rates
    on states.currency = rates.currency
      and told.probe_day >= rates.valid_from_date
      and told.probe_day < rates.valid_to_date
  where states.phase = 'open'
    and dead_then.deal_key is null
    and (context.coverage_scope = 'all' or qualified_stages.stage_key is not null)
),

won_deals as (
  select
    deals.won_on,
    deals.amount_base,
    owners.owner,
    owners.team,
    pipelines.pipeline,
    deals.region
  from {{ ref('fct_deals') }} as deals
  inner join {{ ref('dim_owner') }} as owners on deals.credit_owner_key = owners.owner_key
  inner join {{ ref('dim_pipeline') }} as pipelines on deals.pipeline_key = pipelines.pipeline_key
  cross join context
  where deals.status = 'won' and not deals.is_deleted and deals.excluded_by is null and deals.won_on <= context.as_of
),

won_after as (
  select
    told.quarters_ahead,
    won_deals.*
  from told
  inner join won_deals
    on won_deals.won_on between told.target_start_on and told.target_end_on
      and won_deals.won_on > told.probe_day
),

parts as (
  {%- for segment_type, segment in segments %}
  select
    quarters_ahead,
    '{{ segment_type }}' as segment_type,
    {{ segment }} as segment,
    count(*) as deals_open_then,
    count(distinct origin_index) as quarters_compared,
    sum(open_amount) as open_then_amount,
    cast(null as decimal(38, 3)) as won_after_amount
  from open_then
  group by quarters_ahead{{ ", " ~ segment if segment_type != 'total' }}
  union all
  select
    quarters_ahead,
    '{{ segment_type }}' as segment_type,
    {{ segment }} as segment,
    0 as deals_open_then,
    0 as quarters_compared,
    null as open_then_amount,
    sum(amount_base) as won_after_amount
  from won_after
  group by quarters_ahead{{ ", " ~ segment if segment_type != 'total' }}
  {%- if not loop.last %}
  union all
  {%- endif %}
  {%- endfor %}
),

final as (
  select
    cast(quarters_ahead as int) as quarters_ahead,
    segment_type,
    segment,
    cast(sum(deals_open_then) as bigint) as deals_open_then,
    cast(max(quarters_compared) as bigint) as quarters_compared,
    cast(sum(open_then_amount) as decimal(38, 3)) as open_then_amount,
    cast(sum(won_after_amount) as decimal(38, 3)) as won_after_amount
  from parts
  where segment is not null
  group by quarters_ahead, segment_type, segment
)

select * from final
