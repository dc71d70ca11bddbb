-- What: start plus all buckets of the waterfall is its end, in amounts and in deals, for every slice and both modes.
-- Why: a move in no bucket, or in two, would make a picture that does not close.
-- Window: all periods.
{%- set entries = ['created', 'reopened', 'restored', 'transferred_in', 'pulled_in', 'pushed_in'] %}
{%- set exits = ['won', 'lost', 'closed_other', 'deleted_or_merged', 'transferred_out', 'pushed_out', 'pulled_out', 'closed_outside_scope'] %}
select
  mode,
  scope,
  period_type,
  period,
  segment_type,
  segment
from {{ ref('mart_pipeline_waterfall') }}
where start_amount
  {%- for bucket in entries + exits + ['increased', 'decreased', 'fx'] %}
  + {{ bucket }}_amount
  {%- endfor %} <> end_amount
  or deals_start
  {%- for bucket in entries %}
  + deals_{{ bucket }}
  {%- endfor %}
  {%- for bucket in exits %}
  - deals_{{ bucket }}
  {%- endfor %} <> deals_end
