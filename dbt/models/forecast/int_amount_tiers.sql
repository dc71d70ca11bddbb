-- Sizes are relative to the book of the month before: no later amount moves a deal to another tier, and prices may rise.
-- A month without any amount is there, too: it is a month of evidence.
with context as (
  select as_of from {{ ref('stg_run_context') }}
),

month_ends as (
  select distinct dates.month_end_on as evidence_on
  from {{ ref('dim_date') }} as dates
  cross join context
  where dates.month_end_on <= context.as_of
),

final as (
  select
    month_ends.evidence_on,
    cast(count(*) as bigint) as open_deals,
    cast(count(spans.open_amount) as bigint) as priced_deals,
    cast({{ quantile('cast(spans.open_amount as double)', 0.5) }} as double) as middle_from,
    cast({{ quantile('cast(spans.open_amount as double)', 0.75) }} as double) as large_from,
    cast({{ quantile('cast(spans.open_amount as double)', 0.9) }} as double) as largest_from
  from month_ends
  inner join {{ ref('int_open_spans') }} as spans
    on month_ends.evidence_on >= spans.valid_from_date
      and (month_ends.evidence_on < spans.valid_to_date or spans.valid_to_date is null)
  group by month_ends.evidence_on
)

select * from final
