with rows_landed as (
  {{ landed_newest('holidays', ['date', 'name', 'region']) }}
),

final as (
  select distinct
    rows_landed.source_relation,
    {{ try_type('rows_landed.p.date', 'date') }} as holiday_date,
    rows_landed.p.name as holiday_name,
    rows_landed.p.region as region
  from rows_landed
)

select * from final
