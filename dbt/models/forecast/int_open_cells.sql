-- The open book of every week's end by cell.
{%- set histogram = ref('int_hazard_histogram') %}
with context as (
  select as_of from {{ ref('stg_run_context') }}
),

days as (
  {{ days_asked(ref('dim_date'), 'asked.date_day = asked.week_end_on and asked.date_day <= (select as_of from context)') }}
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

numbered as (
  {{ numbered_cells('book') }}
),

final as (
  select
    as_of,
    evidence_on,
    stage_key,
    cast(time_bin as int) as time_bin,
    amount_tier,
    cast(cell_number as bigint) as cell_number,
    cast(evidence_number as bigint) as evidence_number,
    cast(deals as bigint) as deals,
    cast(priced_deals as bigint) as priced_deals,
    cast(open_amount as decimal(38, 3)) as open_amount,
    cast(won_next_week as bigint) as won_next_week
  from numbered
)

select * from final
