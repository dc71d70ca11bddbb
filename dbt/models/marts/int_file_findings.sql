-- What became of the rows of each file: every row read is kept, rejected or a duplicate, and nothing is dropped in silence.
with reads as (
  select
    *,
    row_number() over (partition by source_relation, entity, file_name order by extracted_at desc, sha256 asc) as newest_first
  from {{ ref('stg_reads') }}
),

files as (
  select
    source_relation,
    entity,
    file_name,
    rows_read,
    rows_kept,
    rows_rejected,
    rows_duplicate,
    -- the names of a list written as JSON
    replace(translate(columns_unmapped, '[]"', ''), ',', ', ') as columns_unmapped,
    coalesce(rows_kept, 0) + coalesce(rows_rejected, 0) + coalesce(rows_duplicate, 0) as rows_accounted
  from reads
  where newest_first = 1
),

rejected_rows as (
  select
    source_relation,
    coalesce(entity, '') as entity,
    coalesce(file_name, '') as file_name,
    coalesce(column_name, '(row)') as column_name,
    coalesce(reason, 'no reason given') as reason,
    row_number_in_file,
    rejected_value,
    hint,
    row_number() over (
      partition by source_relation, entity, file_name, column_name, reason
      order by row_number_in_file, rejected_value
    ) as row_of_reason
  from {{ ref('stg_rejects') }}
),

reasons as (
  select
    source_relation,
    entity,
    file_name,
    column_name,
    reason,
    count(distinct row_number_in_file) as rows_affected,
    min(row_number_in_file) as first_row,
    min(case when row_of_reason = 1 then rejected_value end) as first_value_refused,
    min(hint) as hint,
    row_number() over (
      partition by source_relation
      order by count(distinct row_number_in_file) desc, entity asc, file_name asc, column_name asc, reason asc
    ) as reason_rank
  from rejected_rows
  group by source_relation, entity, file_name, column_name, reason
),

context as (
  select * from {{ ref('stg_run_context') }}
),

final as (
  select
    source_relation,
    'rows_unaccounted' as rule_name,
    concat(entity, ' ', file_name) as subject,
    'error' as severity,
    case when rows_read = rows_accounted then 'ok' else 'finding' end as status,
    cast(abs(rows_read - rows_accounted) as bigint) as rows_affected,
    rows_read as rows_checked,
    cast(null as {{ dbt.type_string() }}) as sample_ids,
    concat(
      file_name, ': ', cast(rows_read as {{ dbt.type_string() }}), ' rows read = ', cast(rows_kept as {{ dbt.type_string() }}), ' kept + ',
      cast(rows_rejected as {{ dbt.type_string() }}), ' rejected + ', cast(rows_duplicate as {{ dbt.type_string() }}), ' duplicates',
      case when rows_read = rows_accounted then '.' else ': this does not add up.' end
    ) as message,
    case when rows_read <> rows_accounted then 'Read the file again; if it stays so, report it as a fault of the reader.' end as remedy,
    cast(null as {{ dbt.type_string() }}) as line_to_paste
  from files
  union all
  select
    source_relation,
    'rows_duplicate' as rule_name,
    concat(entity, ' ', file_name) as subject,
    'info' as severity,
    'finding' as status,
    rows_duplicate as rows_affected,
    rows_read as rows_checked,
    null as sample_ids,
    concat(file_name, ': ', cast(rows_duplicate as {{ dbt.type_string() }}), ' of ', cast(rows_read as {{ dbt.type_string() }}), ' rows repeat another row and count once.') as message,
    'Nothing to do if the export repeats rows on purpose.' as remedy,
    null as line_to_paste
  from files
  where rows_duplicate > 0
  union all
  select
    source_relation,
    'columns_unmapped' as rule_name,
    concat(entity, ' ', file_name) as subject,
    'info' as severity,
    'finding' as status,
    null as rows_affected,
    rows_read as rows_checked,
    columns_unmapped as sample_ids,
    concat(file_name, ': these columns are kept but no metric reads them: ', columns_unmapped, '.') as message,
    'Map a column under columns: of the source if it means one of the fields.' as remedy,
    null as line_to_paste
  from files
  where coalesce(columns_unmapped, '') <> ''
  union all
  select
    reasons.source_relation,
    'rows_rejected' as rule_name,
    concat(reasons.entity, ' ', reasons.file_name, ' ', reasons.column_name, ' ', reasons.reason) as subject,
    'error' as severity,
    'finding' as status,
    reasons.rows_affected,
    files.rows_read as rows_checked,
    concat(reasons.file_name, ':', cast(reasons.first_row as {{ dbt.type_string() }})) as sample_ids,
    concat(
      cast(reasons.rows_affected as {{ dbt.type_string() }}), ' rows refused: ', reasons.file_name, ', column ', reasons.column_name, ', ', reasons.reason,
      '; for example row ', coalesce(cast(reasons.first_row as {{ dbt.type_string() }}), '?'),
      case when reasons.first_value_refused is not null then concat(' with the value ', reasons.first_value_refused) else '' end,
      '.'
    ) as message,
    'Correct the rows in the export, or the mapping of the column, and deliver the file again.' as remedy,
    reasons.hint as line_to_paste
  from reasons
  left join files
    on reasons.source_relation = files.source_relation
      and reasons.entity = files.entity
      and reasons.file_name = files.file_name
  where reasons.reason_rank <= 50
  union all
  select
    source_relation,
    'rows_rejected' as rule_name,
    '(others)' as subject,
    'error' as severity,
    'finding' as status,
    cast(sum(rows_affected) as bigint) as rows_affected,
    null as rows_checked,
    null as sample_ids,
    concat(cast(count(*) as {{ dbt.type_string() }}), ' further reasons, ', cast(sum(rows_affected) as {{ dbt.type_string() }}), ' rows refused.') as message,
    'Settle the more frequent reasons first.' as remedy,
    null as line_to_paste
  from reasons
  where reason_rank > 50
  group by source_relation
  union all
  -- a label that is no fiscal period would be left unused in silence
  select
    rates.source_relation,
    'plan_rate_unused' as rule_name,
    concat(rates.currency, ' ', rates.period) as subject,
    'warning' as severity,
    'finding' as status,
    count(*) as rows_affected,
    null as rows_checked,
    null as sample_ids,
    concat('The plan rate of ', rates.currency, ' for ', rates.period, ' is not used: ', case when min(rates.rate) > 0 then 'the calendar has no such fiscal period.' else 'a rate is above zero.' end) as message,
    'Write the period as the marts do: 2026, 2026Q1 or 2026-03.' as remedy,
    null as line_to_paste
  from {{ ref('stg_plan_rates') }} as rates
  left join (
    select year_label as period from {{ ref('dim_date') }}
    union
    select quarter_label as period from {{ ref('dim_date') }}
    union
    select month_label as period from {{ ref('dim_date') }}
  ) as periods on rates.period = periods.period
  where periods.period is null or not coalesce(rates.rate > 0, false)
  group by rates.source_relation, rates.currency, rates.period
  union all
  select
    '(all)' as source_relation,
    'data_older_than_expected' as rule_name,
    '(all)' as subject,
    'warning' as severity,
    case when data_as_of_warning is null then 'ok' else 'finding' end as status,
    null as rows_affected,
    null as rows_checked,
    null as sample_ids,
    coalesce(data_as_of_warning, concat('The data reach ', cast(as_of as {{ dbt.type_string() }}), '.')) as message,
    case when data_as_of_warning is not null then 'Deliver a newer export; until then every figure stands for the day the data reach.' end as remedy,
    null as line_to_paste
  from context
)

select * from final
