-- What: for every file, the rows read are the rows kept, rejected and found twice, no more and no fewer.
-- Why: a row that is in none of the three was lost on the way, and every figure after it is too low.
-- Window: all files read.
select
  source_relation,
  entity,
  file_name,
  rows_read,
  rows_kept,
  rows_rejected,
  rows_duplicate
from {{ ref('stg_reads') }}
where rows_read <> rows_kept + rows_rejected + rows_duplicate
