{%- set segments = [('total', "'all'"), ('owner', 'owner'), ('team', 'team'), ('pipeline', 'pipeline'), ('region', 'region')] %}
with context as (
  select * from {{ ref('stg_run_context') }}
),

periods as (
  select * from {{ ref('int_periods') }}
  where period_type in ('month', 'quarter')
),

sources as (
  select
    min(full_from_on) as first_full_from_on,
    max(full_from_on) as all_full_from_on
  from {{ ref('int_source_history') }}
),

windows as (
  select * from {{ ref('int_pipeline_windows') }}
  where mode = 'net' and period_type in ('month', 'quarter')
),

-- deals that had a close date in the period while open, on any evening of it
present as (
  select
    periods.period_type,
    periods.period,
    states.deal_key
  from {{ ref('fct_pipeline_states') }} as states
  cross join context
  inner join periods
    on states.close_date between periods.period_start and periods.period_end
      and states.valid_from_date <= least(periods.period_end, context.as_of)
      and states.valid_to_date > periods.period_start
  where states.phase = 'open'
  group by periods.period_type, periods.period, states.deal_key
),

-- deleted and merged deals are in no rate; a deal that was in at the start counts for who had it then
judged as (
  select
    windows.period_type,
    windows.period,
    {%- for label in ['owner', 'team', 'pipeline', 'region'] %}
    case when windows.from_phase = 'open' then windows.from_{{ label }} else windows.to_{{ label }} end as {{ label }},
    {%- endfor %}
    windows.from_phase = 'open' and coalesce(windows.from_close_date between windows.period_start and windows.period_end, false) as is_in_start,
    windows.from_amount as start_amount,
    windows.to_amount,
    windows.to_phase = 'open' as is_open_at_end,
    windows.to_phase = 'open' and (windows.to_close_date > windows.period_end or windows.to_close_date is null) as is_pushed,
    windows.to_phase = 'open' and coalesce(windows.to_close_date between windows.period_start and windows.period_end, false)
    and windows.to_close_date < windows.through_day as is_past_due
  from windows
  left join present
    on windows.period_type = present.period_type
      and windows.period = present.period
      and windows.deal_key = present.deal_key
  where windows.to_phase in ('open', 'won', 'lost', 'closed_other')
    and (
      present.deal_key is not null
      or (windows.from_phase = 'open' and windows.from_close_date between windows.period_start and windows.period_end)
      or (windows.to_phase <> 'open' and windows.to_close_date between windows.period_start and windows.period_end)
    )
),

changes as (
  select
    periods.period_type,
    periods.period,
    changes.owner,
    changes.team,
    changes.pipeline,
    changes.region,
    changes.deal_key,
    changes.moved_days,
    case when periods.period_type = 'month' then changes.is_month_push else changes.is_quarter_push end as is_period_push
  from {{ ref('int_close_date_changes') }} as changes
  inner join periods on changes.changed_on between periods.period_start and periods.period_end
),

slips as (
  {%- for segment_type, segment in segments %}
  select
    period_type,
    period,
    '{{ segment_type }}' as segment_type,
    {{ segment }} as segment,
    count(case when is_in_start then 1 end) as deals_start,
    count(case when is_in_start and is_open_at_end then 1 end) as deals_start_still_open,
    count(case when is_in_start and is_pushed then 1 end) as deals_start_pushed,
    count(case when is_in_start and is_past_due then 1 end) as deals_start_past_due,
    sum(case when is_in_start then start_amount end) as start_amount,
    sum(case when is_in_start and is_open_at_end then start_amount end) as start_still_open_amount,
    count(*) as deals_any,
    count(case when is_open_at_end then 1 end) as deals_any_still_open,
    count(case when is_pushed then 1 end) as deals_any_pushed,
    count(case when is_past_due then 1 end) as deals_any_past_due
  from judged
  group by period_type, period{{ ", " ~ segment if segment_type != 'total' }}
  {%- if not loop.last %}
  union all
  {%- endif %}
  {%- endfor %}
),

pushes as (
  {%- for segment_type, segment in segments %}
  select
    period_type,
    period,
    '{{ segment_type }}' as segment_type,
    {{ segment }} as segment,
    count(case when moved_days > 0 then 1 end) as date_pushes,
    count(case when is_period_push then 1 end) as period_pushes,
    count(distinct case when moved_days > 0 then deal_key end) as deals_with_push,
    count(case when moved_days < 0 then 1 end) as date_pulls,
    cast(sum(moved_days) as bigint) as days_pushed
  from changes
  group by period_type, period{{ ", " ~ segment if segment_type != 'total' }}
  {%- if not loop.last %}
  union all
  {%- endif %}
  {%- endfor %}
),

cells as (
  select period_type, period, segment_type, segment
  from slips
  union
  select period_type, period, segment_type, segment
  from pushes
  union
  select
    period_type,
    period,
    'total' as segment_type,
    'all' as segment
  from periods
),

joined as (
  select
    cells.period_type,
    cells.period,
    periods.period_start,
    periods.period_end,
    periods.is_complete_period,
    cells.segment_type,
    cells.segment,
    {%- for column in [
      'deals_start', 'deals_start_still_open', 'deals_start_pushed', 'deals_start_past_due', 'deals_any', 'deals_any_still_open',
      'deals_any_pushed', 'deals_any_past_due'
    ] %}
    coalesce(slips.{{ column }}, 0) as {{ column }},
    {%- endfor %}
    slips.start_amount,
    slips.start_still_open_amount,
    {%- for column in ['date_pushes', 'period_pushes', 'deals_with_push', 'date_pulls', 'days_pushed'] %}
    coalesce(pushes.{{ column }}, 0) as {{ column }}{{ "," if not loop.last }}
    {%- endfor %}
  from cells
  inner join periods
    on cells.period_type = periods.period_type
      and cells.period = periods.period
  {%- for part in ['slips', 'pushes'] %}
  left join {{ part }}
    on cells.period_type = {{ part }}.period_type
      and cells.period = {{ part }}.period
      and cells.segment_type = {{ part }}.segment_type
      and cells.segment = {{ part }}.segment
  {%- endfor %}
),

final as (
  select
    joined.period_type,
    joined.period,
    joined.period_start,
    joined.period_end,
    joined.is_complete_period,
    case
      when joined.period_start >= sources.all_full_from_on then 'full'
      when joined.period_start < sources.first_full_from_on then 'left_truncated'
      else 'partial'
    end as history_status,
    joined.segment_type,
    joined.segment,
    joined.deals_start,
    joined.deals_start_pushed,
    joined.deals_start_past_due,
    case when joined.is_complete_period then joined.deals_start_still_open end as deals_start_slipped,
    case when joined.is_complete_period then {{ sampled_rate('joined.deals_start_still_open', 'joined.deals_start', 'context.min_sample') }} end as slip_rate_start,
    case when joined.is_complete_period then joined.deals_start_still_open end as slip_rate_start_numerator,
    case when joined.is_complete_period then joined.deals_start end as slip_rate_start_denominator,
    case when joined.is_complete_period then {{ wilson_low('joined.deals_start_still_open', 'joined.deals_start') }} end as slip_rate_start_low,
    case when joined.is_complete_period then {{ wilson_high('joined.deals_start_still_open', 'joined.deals_start') }} end as slip_rate_start_high,
    joined.deals_start < context.min_sample as start_sample_too_small,
    cast(joined.start_amount as decimal(38, 3)) as start_amount,
    cast(case when joined.is_complete_period and joined.start_amount is not null then coalesce(joined.start_still_open_amount, 0) end as decimal(38, 3)) as start_slipped_amount,
    case
      when joined.is_complete_period and joined.deals_start >= context.min_sample
        then {{ safe_rate('coalesce(joined.start_still_open_amount, 0)', 'joined.start_amount') }}
    end as slip_rate_start_amount,
    joined.deals_any,
    joined.deals_any_pushed,
    joined.deals_any_past_due,
    case when joined.is_complete_period then joined.deals_any_still_open end as deals_any_slipped,
    case when joined.is_complete_period then {{ sampled_rate('joined.deals_any_still_open', 'joined.deals_any', 'context.min_sample') }} end as slip_rate_any,
    case when joined.is_complete_period then joined.deals_any_still_open end as slip_rate_any_numerator,
    case when joined.is_complete_period then joined.deals_any end as slip_rate_any_denominator,
    case when joined.is_complete_period then {{ wilson_low('joined.deals_any_still_open', 'joined.deals_any') }} end as slip_rate_any_low,
    case when joined.is_complete_period then {{ wilson_high('joined.deals_any_still_open', 'joined.deals_any') }} end as slip_rate_any_high,
    joined.deals_any < context.min_sample as any_sample_too_small,
    joined.date_pushes,
    joined.period_pushes,
    joined.deals_with_push,
    joined.date_pulls,
    joined.days_pushed,
    context.as_of,
    context.definition_version
  from joined
  cross join context
  cross join sources
)

select * from final
