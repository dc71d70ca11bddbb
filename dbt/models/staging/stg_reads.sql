with rows_landed as (
  {{ landed_newest('reads', ['entity', 'sha256', 'rows_read', 'rows_kept', 'rows_rejected', 'rows_duplicate', 'columns_unmapped', 'data_as_of']) }}
),

final as (
  select distinct
    source_relation,
    p.entity as entity,
    p.file as file_name,
    p.sha256 as sha256,
    {{ try_type('p.rows_read', 'bigint') }} as rows_read,
    {{ try_type('p.rows_kept', 'bigint') }} as rows_kept,
    {{ try_type('p.rows_rejected', 'bigint') }} as rows_rejected,
    {{ try_type('p.rows_duplicate', 'bigint') }} as rows_duplicate,
    p.columns_unmapped as columns_unmapped,
    {{ try_type('p.data_as_of', 'date') }} as data_as_of,
    extracted_at
  from rows_landed
)

select * from final
