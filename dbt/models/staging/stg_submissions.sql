with rows_landed as (
  {{ landed_newest('submissions', ['row', 'submitted_on', 'period', 'role', 'owner', 'category', 'amount', 'currency']) }}
),

final as (
  select distinct
    rows_landed.source_relation,
    rows_landed.p.file as file_name,
    {{ try_type('rows_landed.p.row', 'bigint') }} as row_number_in_file,
    {{ try_type('rows_landed.p.submitted_on', 'date') }} as submitted_on,
    trim(rows_landed.p.period) as period,
    lower(trim(rows_landed.p.role)) as role_name,
    trim(rows_landed.p.owner) as person,
    coalesce(nullif(trim(rows_landed.p.category), ''), 'commit') as category,
    {{ try_type('rows_landed.p.amount', 'decimal(20, 3)') }} as amount_native,
    upper(nullif(trim(rows_landed.p.currency), '')) as currency
  from rows_landed
)

select * from final
