-- Only what the newest reading of a file refused: a mended file leaves no complaint behind.
with rows_landed as (
  {{ landed('rejects', ['file', 'sha256', 'row', 'column', 'value', 'reason', 'entity', 'hint']) }}
),

newest_reads as (
  select
    source_relation,
    entity,
    file_name,
    sha256
  from {{ ref('stg_reads') }}
),

final as (
  select distinct
    rows_landed.source_relation,
    rows_landed.p.entity as entity,
    rows_landed.p.file as file_name,
    {{ try_type('rows_landed.p.row', 'bigint') }} as row_number_in_file,
    rows_landed.p.column as column_name,
    rows_landed.p.value as rejected_value,
    rows_landed.p.reason as reason,
    rows_landed.p.hint as hint
  from rows_landed
  inner join newest_reads
    on rows_landed.source_relation = newest_reads.source_relation
      and rows_landed.p.entity = newest_reads.entity
      and rows_landed.p.file = newest_reads.file_name
      and rows_landed.p.sha256 = newest_reads.sha256
)

select * from final
