-- What versions and transitions are completed from when their deals are solved, as digests: rates, the calendar, and the
-- mass changes, which are groups of many deals. A change of these touches the deals that have such rows (int_touched_facts).
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
)

select * from final
