with rows_landed as (
  {{ landed_newest('fx_rates', ['currency', 'rate_date', 'rate', 'recorded_on']) }}
),

final as (
  select distinct
    rows_landed.source_relation,
    rows_landed.p.currency as currency,
    {{ try_type('rows_landed.p.rate_date', 'date') }} as rate_date,
    {{ try_type('rows_landed.p.rate', 'double') }} as rate,
    {{ try_type('rows_landed.p.recorded_on', 'date') }} as recorded_on
  from rows_landed
)

select * from final
