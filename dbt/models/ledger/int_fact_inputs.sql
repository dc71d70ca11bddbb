-- What versions and transitions are completed from when their deals are solved, as digests: rates, the calendar, the
-- mass changes, which are groups of many deals, and what is left out of the metrics. A change of these touches the deals that have such rows (int_touched_facts).
with final as (
  select
    'rate' as input,
    currency as item,
    cast(valid_from_date as {{ dbt.type_timestamp() }}) as item_at,
    concat(rate, ' until ', valid_to_date) as digest
  from {{ ref('int_fx_rates') }}
  union all
  select
    'calendar' as input,
    'all' as item,
    cast(null as {{ dbt.type_timestamp() }}) as item_at,
    {{ bag_digest('day_hash') }} as digest
  from (
    select {{ row_hash(['date_day', 'fiscal_year', 'quarter_label', 'business_day_index']) }} as day_hash
    from {{ ref('dim_date') }}
  ) as days
  union all
  select
    'mass change' as input,
    concat(source_relation, '|', changed_by) as item,
    changed_in_minute as item_at,
    'is one' as digest
  from {{ ref('int_bulk_changes') }}
  union all
  -- who is left out of the metrics: names can come to mean somebody else
  select
    'exclusion' as input,
    concat(rule, '|', member_key) as item,
    null as item_at,
    min(written_name) as digest
  from {{ ref('int_exclusions') }}
  where member_key is not null
  group by rule, member_key
)

select * from final
