-- The open book of every week's end by cell, and how likely each cell is to be won by the ends of five quarters, by the
-- evidence of that day.
{%- set histogram = ref('int_hazard_histogram') %}
with context as (
  select as_of from {{ ref('stg_run_context') }}
),

days as (
  {{ days_asked(ref('dim_date'), 'asked.date_day = asked.week_end_on and asked.date_day <= (select as_of from context)') }}
),

exposures as (
  {{ hazard_exposures('days', ref('dim_date'), ref('int_calendar_index')) }}
),

bins as (
  {{ time_bins(ref('int_hazard_cell')) }}
),

book as (
  select
    days.as_of,
    days.evidence_on,
    histogram.stage_key,
    coalesce(bins.time_bin, case when histogram.weeks_class < 0 then -1 else 0 end) as time_bin,
    histogram.amount_tier,
    sum(histogram.deals) as deals,
    sum(histogram.priced_deals) as priced_deals,
    sum(histogram.open_amount) as open_amount,
    sum(case when histogram.outcome = 'won' and histogram.weeks_followed = 1 then histogram.deals else 0 end) as won_next_week
  from days
  inner join {{ histogram }} as histogram on days.as_of = histogram.origin
  left join bins
    on days.evidence_on = bins.evidence_on
      and histogram.stage_key = bins.stage_key
      and {{ in_time_bin('histogram.weeks_class', 'bins') }}
  group by
    days.as_of, days.evidence_on, histogram.stage_key,
    coalesce(bins.time_bin, case when histogram.weeks_class < 0 then -1 else 0 end),
    histogram.amount_tier
),

curves as (
  {{ win_curves('days', 'exposures', 'book', ref('int_hazard_cell')) }}
),

final as (
  select
    book.as_of,
    book.evidence_on,
    book.stage_key,
    cast(book.time_bin as int) as time_bin,
    book.amount_tier,
    cast(book.deals as bigint) as deals,
    cast(book.priced_deals as bigint) as priced_deals,
    cast(book.open_amount as decimal(38, 3)) as open_amount,
    {%- for offset in range(5) %}
    cast(curves.p_win_{{ offset }} as double) as p_win_{{ offset }},
    {%- endfor %}
    cast(curves.p_win_ever as double) as p_win_ever,
    cast(curves.p_win_week as double) as p_win_week,
    cast(book.won_next_week as bigint) as won_next_week
  from book
  inner join curves
    on book.as_of = curves.as_of
      and book.stage_key = curves.stage_key
      and book.time_bin = curves.time_bin
      and book.amount_tier = curves.amount_tier
)

select * from final
