-- The rules of the waterfall. A deal whose owner, team, pipeline or region changed is told three times: once where it
-- stayed (the total, and what did not change), once where it left, once where it arrived; the flags in_… say for which
-- segment types a row counts.
{%- set segment_types = ['owner', 'team', 'pipeline', 'region'] %}
with windows as (
  select * from {{ ref('int_pipeline_windows') }}
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
  from windows
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
  from windows
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
      when from_phase <> 'open' then 'reopened'
      else close_date_entry
    end as entry_bucket,
    case
      when is_open_in_scope then null
      when is_closed_in_scope then to_phase
      when to_phase = 'removed' then 'deleted_or_merged'
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

final as (
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
    case when side = 'left' or to_phase = 'removed' then from_{{ segment_type }} else to_{{ segment_type }} end as {{ segment_type }},
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
    from_stage_key,
    to_stage_key,
    from_owner_key,
    to_owner_key,
    from_pipeline_key,
    to_pipeline_key
  from moves
)

select * from final
