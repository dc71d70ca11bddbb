-- Sizes are relative to the book of the month before: no later amount moves a deal to another tier, and prices may rise.
-- A month without any amount is there, too: it is a month of evidence.
with context as (
  select as_of from {{ ref('stg_run_context') }}
),

months as (
  select
    month_end_on,
    cast(row_number() over (order by month_end_on) as int) as month_number
  from {{ ref('dim_date') }}
  group by month_end_on
),

month_ends as (
  select
    months.month_number,
    months.month_end_on as evidence_on
  from months
  cross join context
  where months.month_end_on <= context.as_of
),

last_month as (
  select max(month_number) as month_number from month_ends
),

month_days as (
  select
    dates.date_day,
    months.month_number
  from {{ ref('dim_date') }} as dates
  inner join months on dates.month_end_on = months.month_end_on
),

-- the months at whose ends a span is open: those from the one it begins in, before the one it ends in
spans as (
  select
    first_days.month_number as first_month,
    least(coalesce(end_days.month_number - 1, last_month.month_number), last_month.month_number) as final_month,
    open_spans.open_amount
  from {{ ref('int_open_spans') }} as open_spans
  inner join month_days as first_days on open_spans.valid_from_date = first_days.date_day
  left join month_days as end_days on open_spans.valid_to_date = end_days.date_day
  cross join last_month
),

-- a span of n months becomes n rows by equality: a join on a range of days compares every span with every month
lengths as (
  select
    lengths.month_number as months_long,
    places.month_number as place
  from month_ends as lengths
  inner join month_ends as places on lengths.month_number >= places.month_number
),

final as (
  select
    month_ends.evidence_on,
    cast(count(*) as bigint) as open_deals,
    cast(count(spans.open_amount) as bigint) as priced_deals,
    cast({{ quantile('cast(spans.open_amount as double)', 0.5) }} as double) as middle_from,
    cast({{ quantile('cast(spans.open_amount as double)', 0.75) }} as double) as large_from,
    cast({{ quantile('cast(spans.open_amount as double)', 0.9) }} as double) as largest_from
  from spans
  inner join lengths on spans.final_month - spans.first_month + 1 = lengths.months_long
  inner join month_ends on spans.first_month + lengths.place - 1 = month_ends.month_number
  group by month_ends.evidence_on
)

select * from final
