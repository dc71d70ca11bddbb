{# The rules of the waterfall, shared by its models and by the table macro pipeline_changes(). Each is a list of CTEs that
   ends with the one named in its first line. #}

{# net_windows: deals that were open in a period, or closed in it, with the numbers of their states at both ends. `pairs`
   says which states are looked at in which periods. #}
{% macro net_windows(periods, states, pairs=none) -%}
present as (
  {%- for periods, states in pairs or [(periods, states)] %}
  select
    periods.period_type,
    periods.period,
    states.deal_key
  from {{ states }} as states
  inner join {{ periods }} as periods
    on states.valid_from_date <= periods.through_day
      and states.valid_to_date > periods.from_day
  where states.phase = 'open'
  union
  select
    periods.period_type,
    periods.period,
    states.deal_key
  from {{ states }} as states
  inner join {{ periods }} as periods
    on states.closed_on > periods.from_day
      and states.closed_on <= periods.through_day
  {%- if not loop.last %}
  union
  {%- endif %}
  {%- endfor %}
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
  inner join {{ periods }} as periods
    on present.period_type = periods.period_type
      and present.period = periods.period
  left join {{ states }} as from_states
    on present.deal_key = from_states.deal_key
      and periods.from_day >= from_states.valid_from_date
      and periods.from_day < from_states.valid_to_date
  left join {{ states }} as to_states
    on present.deal_key = to_states.deal_key
      and periods.through_day >= to_states.valid_from_date
      and periods.through_day < to_states.valid_to_date
)
{%- endmacro %}

{# priced: windows (mode, period, from_day, through_day, deal_key, from_number, to_number) with the states at both ends. #}
{% macro priced_windows(windows, states, rates) -%}
{%- set sides = ['from', 'to'] %}
{%- set labels = ['owner', 'team', 'pipeline', 'region'] %}
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
      when to_states.phase in ('open', 'removed', 'excluded') then to_states.phase
      -- closed before the window: not part of it
      when to_states.closed_on > windows.from_day then to_states.phase
      else 'gone'
    end as to_phase,
    least(coalesce(to_states.valued_on, windows.through_day), windows.through_day) as to_rate_day,
    {%- for side in sides %}
      {%- for column in ['state_number', 'amount_native', 'currency', 'close_date'] + labels %}
    {{ side }}_states.{{ column }} as {{ side }}_{{ column }}{{ "," if not (loop.last and side == 'to') }}
      {%- endfor %}
    {%- endfor %}
  from {{ windows }} as windows
  inner join {{ states }} as to_states
    on windows.deal_key = to_states.deal_key
      and windows.to_number = to_states.state_number
  left join {{ states }} as from_states
    on windows.deal_key = from_states.deal_key
      and windows.from_number = from_states.state_number
),

priced as (
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
    cast(case when paired.from_phase = 'open' then paired.from_amount_native * from_rates.rate end as decimal(20, 3)) as from_amount,
    cast(case when paired.from_phase = 'open' then paired.from_amount_native * kept_rates.rate end as decimal(20, 3)) as from_amount_at_end,
    cast(paired.to_amount_native * to_rates.rate as decimal(20, 3)) as to_amount,
    paired.to_amount_native is null as is_amount_missing,
    {%- for side in sides %}
      {%- for column in ['state_number', 'close_date'] + labels %}
    paired.{{ side }}_{{ column }},
      {%- endfor %}
    {%- endfor %}
    {%- for label in labels %}
    paired.from_phase = 'open' and paired.to_phase in ('open', 'won', 'lost', 'closed_other') and paired.from_{{ label }} <> paired.to_{{ label }} as is_{{ label }}_changed{{ "," if not loop.last }}
    {%- endfor %}
  from paired
  left join {{ rates }} as from_rates
    on paired.from_currency = from_rates.currency
      and paired.from_day >= from_rates.valid_from_date
      and paired.from_day < from_rates.valid_to_date
  left join {{ rates }} as kept_rates
    on paired.from_currency = kept_rates.currency
      and paired.to_rate_day >= kept_rates.valid_from_date
      and paired.to_rate_day < kept_rates.valid_to_date
  left join {{ rates }} as to_rates
    on paired.to_currency = to_rates.currency
      and paired.to_rate_day >= to_rates.valid_from_date
      and paired.to_rate_day < to_rates.valid_to_date
  where paired.from_phase = 'open' or paired.to_phase in ('open', 'won', 'lost', 'closed_other')
)
{%- endmacro %}

{# waterfall_moves: what each priced window means for the waterfall. A deal whose owner, team, pipeline or region changed
   is told three times: once where it stayed (the total, and what did not change), once where it left, once where it
   arrived; the flags in_… say for which segment types a row counts. #}
{% macro waterfall_moves(windows) -%}
{%- set segment_types = ['owner', 'team', 'pipeline', 'region'] %}
waterfall_windows as (
  select * from {{ windows }}
),

-- rolling looks at all open deals, period at those whose close date lies in the period
scoped as (
  select
    *,
    'rolling' as scope,
    from_phase = 'open' as was_open_in_scope,
    to_phase = 'open' as is_open_in_scope,
    to_phase in ('won', 'lost', 'closed_other') as is_closed_in_scope,
    'pulled_in' as close_date_entry,
    'pushed_out' as close_date_exit
  from waterfall_windows
  union all
  select
    *,
    'period' as scope,
    from_phase = 'open' and coalesce(from_close_date between period_start and period_end, false) as was_open_in_scope,
    to_phase = 'open' and coalesce(to_close_date between period_start and period_end, false) as is_open_in_scope,
    to_phase in ('won', 'lost', 'closed_other') and coalesce(to_close_date between period_start and period_end, false) as is_closed_in_scope,
    -- no close date is later than any
    case when from_close_date < period_start then 'pushed_in' else 'pulled_in' end as close_date_entry,
    case when to_close_date < period_start then 'pulled_out' else 'pushed_out' end as close_date_exit
  from waterfall_windows
),

relevant as (
  select
    *,
    is_owner_changed or is_team_changed or is_pipeline_changed or is_region_changed as is_any_changed
  from scoped
  where was_open_in_scope or is_open_in_scope or is_closed_in_scope
),

stayed as (
  select
    relevant.*,
    'stayed' as side,
    true as in_total,
    {%- for segment_type in segment_types %}
    not is_{{ segment_type }}_changed as in_{{ segment_type }},
    {%- endfor %}
    was_open_in_scope as is_in_start,
    is_open_in_scope as is_in_end,
    case
      when was_open_in_scope or not (is_open_in_scope or is_closed_in_scope) then null
      when from_phase = 'none' then 'created'
      when from_phase = 'removed' then 'restored'
      when from_phase = 'excluded' then 'transferred_in'
      when from_phase <> 'open' then 'reopened'
      else close_date_entry
    end as entry_bucket,
    case
      when is_open_in_scope then null
      when is_closed_in_scope then to_phase
      when to_phase = 'removed' then 'deleted_or_merged'
      when to_phase = 'excluded' then 'transferred_out'
      when to_phase <> 'open' then 'closed_outside_scope'
      else close_date_exit
    end as exit_bucket
  from relevant
),

-- closing comes before handing over: what another closed is no longer in anybody's pipeline
left_side as (
  select
    relevant.*,
    'left' as side,
    false as in_total,
    {%- for segment_type in segment_types %}
    is_{{ segment_type }}_changed as in_{{ segment_type }},
    {%- endfor %}
    true as is_in_start,
    false as is_in_end,
    cast(null as {{ dbt.type_string() }}) as entry_bucket,
    case when to_phase = 'open' then 'transferred_out' else 'closed_outside_scope' end as exit_bucket
  from relevant
  where is_any_changed and was_open_in_scope
),

arrived as (
  select
    relevant.*,
    'arrived' as side,
    false as in_total,
    {%- for segment_type in segment_types %}
    is_{{ segment_type }}_changed as in_{{ segment_type }},
    {%- endfor %}
    false as is_in_start,
    is_open_in_scope as is_in_end,
    'transferred_in' as entry_bucket,
    case when is_closed_in_scope then to_phase end as exit_bucket
  from relevant
  where is_any_changed and (is_open_in_scope or is_closed_in_scope)
),

moves as (
  select * from stayed
  union all
  select * from left_side
  union all
  select * from arrived
),

waterfall_moves as (
  select
    mode,
    scope,
    period_type,
    period,
    through_day as moved_on,
    deal_key,
    side,
    source_relation,
    in_total,
    {%- for segment_type in segment_types %}
    in_{{ segment_type }},
    {%- endfor %}
    {%- for segment_type in segment_types %}
    case when side = 'left' or to_phase in ('removed', 'excluded') then from_{{ segment_type }} else to_{{ segment_type }} end as {{ segment_type }},
    {%- endfor %}
    is_in_start,
    is_in_end,
    entry_bucket,
    exit_bucket,
    cast(case when is_in_start then coalesce(from_amount, 0) else 0 end as decimal(20, 3)) as start_amount,
    cast(case when entry_bucket is not null then coalesce(to_amount, 0) else 0 end as decimal(20, 3)) as entry_amount,
    -- a deal that leaves without closing leaves at its old value
    cast(case
      when is_in_start and (is_in_end or exit_bucket in ('won', 'lost', 'closed_other')) then coalesce(from_amount_at_end, 0) - coalesce(from_amount, 0)
      else 0
    end as decimal(20, 3)) as fx_amount,
    cast(case
      when is_in_start and (is_in_end or exit_bucket in ('won', 'lost', 'closed_other')) then coalesce(to_amount, 0) - coalesce(from_amount_at_end, 0)
      else 0
    end as decimal(20, 3)) as change_amount,
    cast(case
      when exit_bucket is null then 0
      when exit_bucket in ('won', 'lost', 'closed_other') then -coalesce(to_amount, 0)
      else -coalesce(from_amount, 0)
    end as decimal(20, 3)) as exit_amount,
    cast(case when is_in_end then coalesce(to_amount, 0) else 0 end as decimal(20, 3)) as end_amount,
    is_in_end and to_amount is null and is_amount_missing as is_end_amount_missing,
    is_in_end and to_amount is null and not is_amount_missing as is_end_rate_missing,
    coalesce(
      (is_in_start and from_amount is not null)
      or ((is_in_end or exit_bucket in ('won', 'lost', 'closed_other')) and to_amount is not null),
      false
    ) as is_priced,
    from_amount,
    to_amount,
    from_close_date,
    to_close_date,
    from_state_number,
    to_state_number
  from moves
)
{%- endmacro %}
