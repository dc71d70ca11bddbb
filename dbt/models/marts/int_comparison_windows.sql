-- The last four quarters that are over, and what they are compared with: the full quarters before them. Where there is a
-- year of those or more, whole years, so that each season counts as often on both sides.
with quarters as (
  select
    period,
    period_start,
    period_end,
    row_number() over (order by period_start desc) as quarters_ago
  from {{ ref('int_periods') }}
  where period_type = 'quarter'
    and is_complete_period
),

sources as (
  select
    history.source_relation,
    greatest(history.full_from_on, coalesce(sales_history.complete_from_on, history.full_from_on)) as complete_from_on
  from {{ ref('int_source_history') }} as history
  left join {{ ref('int_sales_history') }} as sales_history on history.source_relation = sales_history.source_relation
),

full_quarters as (
  select
    sources.source_relation,
    quarters.*,
    count(*) over (partition by sources.source_relation) - 4 as quarters_before
  from sources
  inner join quarters on sources.complete_from_on <= quarters.period_start
),

kept as (
  select
    *,
    case when quarters_before >= 4 then quarters_before - mod(quarters_before, 4) else quarters_before end as quarters_compared
  from full_quarters
),

final as (
  select
    source_relation,
    min(case when quarters_ago > 4 then period_start end) as before_from,
    max(case when quarters_ago > 4 then period_end end) as before_to,
    min(case when quarters_ago <= 4 then period_start end) as recent_from,
    max(case when quarters_ago <= 4 then period_end end) as recent_to,
    max(case when quarters_ago = 4 then period end) as recent_from_quarter,
    max(case when quarters_ago = 1 then period end) as recent_to_quarter,
    cast(count(case when quarters_ago > 4 then 1 end) as int) as quarters_compared
  from kept
  where quarters_ago <= 4 + quarters_compared
    and quarters_before >= 1
  group by source_relation
)

select * from final
