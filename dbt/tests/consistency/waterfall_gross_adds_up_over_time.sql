-- What: the rolling gross waterfalls of the months of a fiscal quarter add up to that of the quarter, bucket by bucket.
-- Why: gross is the sum of its days; a day lost or counted twice at the edge of a period would show here only.
-- Window: all quarters and segments. The scope period is left out: its window is that of the period.
{%- set buckets = [
  'created', 'reopened', 'restored', 'transferred_in', 'pulled_in', 'pushed_in', 'increased', 'decreased', 'fx', 'won', 'lost',
  'closed_other', 'deleted_or_merged', 'transferred_out', 'pushed_out', 'pulled_out', 'closed_outside_scope'
] %}
with quarters as (
  select
    month_label,
    min(quarter_label) as quarter_label
  from {{ ref('dim_date') }}
  group by month_label
),

months as (
  select
    quarters.quarter_label as period,
    waterfall.segment_type,
    waterfall.segment
    {%- for bucket in buckets %},
    sum(coalesce(waterfall.{{ bucket }}_amount, 0)) as {{ bucket }}_amount
    {%- endfor %}
  from {{ ref('mart_pipeline_waterfall') }} as waterfall
  inner join quarters on waterfall.period = quarters.month_label
  where waterfall.mode = 'gross' and waterfall.scope = 'rolling' and waterfall.period_type = 'month'
  group by quarters.quarter_label, waterfall.segment_type, waterfall.segment
)

select
  months.period,
  months.segment_type,
  months.segment
from months
inner join {{ ref('mart_pipeline_waterfall') }} as waterfall
  on waterfall.mode = 'gross'
    and waterfall.scope = 'rolling'
    and waterfall.period_type = 'quarter'
    and months.period = waterfall.period
    and months.segment_type = waterfall.segment_type
    and months.segment = waterfall.segment
where false
  {%- for bucket in buckets %}
  or months.{{ bucket }}_amount <> coalesce(waterfall.{{ bucket }}_amount, 0)
  {%- endfor %}
