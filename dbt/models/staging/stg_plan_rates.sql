with rows_landed as (
  {{ landed_newest('plan_rates', ['period', 'currency', 'rate', 'recorded_on']) }}
),

final as (
  select distinct
    rows_landed.source_relation,
    trim(rows_landed.p.period) as period,
    upper(trim(rows_landed.p.currency)) as currency,
    {{ try_type('rows_landed.p.rate', 'double') }} as rate,
    {{ try_type('rows_landed.p.recorded_on', 'date') }} as recorded_on
  from rows_landed
)

select * from final
