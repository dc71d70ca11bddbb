with rows_landed as (
  {{ landed_newest('rejects', ['row', 'column', 'value', 'reason', 'entity', 'hint']) }}
),

final as (
  select distinct
    source_relation,
    p.entity as entity,
    p.file as file_name,
    {{ try_type('p.row', 'bigint') }} as row_number_in_file,
    p.column as column_name,
    p.value as rejected_value,
    p.reason as reason,
    p.hint as hint
  from rows_landed
)

select * from final
