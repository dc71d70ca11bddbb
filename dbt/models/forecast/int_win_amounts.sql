-- What a win brings: of deals with an amount the share of it that was booked, of the others the average booking.
{%- set week_start = '(select week_start from ' ~ ref('stg_run_context') ~ ')' %}
{%- set prior = prior_deals() %}
with months as (
  select
    evidence_on,
    {{ last_whole_week('evidence_on', week_start) }} as last_week
  from {{ ref('int_amount_tiers') }}
),

bookings as (
  select
    closed_on,
    won_amount
  from {{ ref('int_open_spans') }}
  where outcome = 'won'
    and valid_to_date = closed_on
),

averages as (
  select
    months.evidence_on,
    count(case when bookings.closed_on > {{ add_days('months.evidence_on', -364) }} then bookings.won_amount end) as deals_of_year,
    sum(case when bookings.closed_on > {{ add_days('months.evidence_on', -364) }} then bookings.won_amount end) as amount_of_year,
    count(bookings.won_amount) as deals,
    sum(bookings.won_amount) as amount
  from months
  left join bookings on bookings.closed_on <= months.evidence_on
  group by months.evidence_on
),

sold as (
  select
    months.evidence_on,
    histogram.stage_key,
    sum(case when histogram.won_amount > 0 then histogram.priced_deals else 0 end) as deals,
    cast(sum(histogram.won_amount) as double) as won_amount,
    cast(sum(histogram.open_amount_of_won) as double) as open_amount
  from months
  inner join {{ ref('int_hazard_histogram') }} as histogram
    on histogram.week_number + histogram.weeks_followed <= months.last_week
  where histogram.outcome = 'won'
    and histogram.amount_tier > 0
  group by months.evidence_on, histogram.stage_key
),

compared as (
  select
    *,
    sum(won_amount) over whole as won_in_all,
    sum(open_amount) over whole as open_in_all,
    sum(deals) over whole as deals_in_all
  from sold
  window whole as (partition by evidence_on)
),

every_stage as (
  select
    evidence_on,
    stage_key,
    deals,
    (won_amount + {{ prior }} * won_in_all / deals_in_all) / (open_amount + {{ prior }} * open_in_all / deals_in_all) as price_factor
  from compared
  where open_in_all > 0
    and deals_in_all > 0
),

final as (
  select
    averages.evidence_on,
    coalesce(every_stage.stage_key, '(all)') as stage_key,
    cast(coalesce(every_stage.deals, 0) as bigint) as deals_compared,
    cast(coalesce(every_stage.price_factor, 1e0) as double) as price_factor,
    cast(
      case
        when averages.deals_of_year > 0 then cast(averages.amount_of_year as double) / averages.deals_of_year
        when averages.deals > 0 then cast(averages.amount as double) / averages.deals
      end as double
    ) as average_won_amount
  from averages
  left join (
    select
      evidence_on,
      stage_key,
      deals,
      price_factor
    from every_stage
    union all
    select distinct
      evidence_on,
      '(all)' as stage_key,
      deals_in_all as deals,
      won_in_all / open_in_all as price_factor
    from compared
    where open_in_all > 0
  ) as every_stage on averages.evidence_on = every_stage.evidence_on
)

select * from final
