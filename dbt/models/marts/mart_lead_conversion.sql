-- Of the leads that came in together, how many become deals, and won deals, and how long it takes. Incidence: Aalen and
-- Johansen (1978, Scand. J. Statist. 5, 141-150); being disqualified competes, open leads count for as long as they are there.
{%- set horizons = [30, 60, 90, 180, 365] %}
{%- set cell = 'period_type, period, segment_type, segment' %}
with context as (
  select * from {{ ref('stg_run_context') }}
),

-- a deal that several leads became counts for the first of them
credits as (
  select
    lead_deals.lead_key,
    count(*) as deals_credited,
    count(case when deals.status = 'won' and deals.won_on <= deals.as_of then 1 end) as won_deals_credited,
    sum(case when deals.status = 'won' and deals.won_on <= deals.as_of then deals.amount_base end) as won_amount
  from {{ ref('bridge_lead_deal') }} as lead_deals
  inner join {{ ref('fct_deals') }} as deals on lead_deals.deal_key = deals.deal_key
  where lead_deals.lead_number = 1
    and not deals.is_deleted
    and deals.excluded_by is null
  group by lead_deals.lead_key
),

leads as (
  select
    leads.lead_key,
    leads.lead_source,
    leads.owner,
    leads.created_on,
    leads.status,
    leads.days_to_conversion,
    leads.days_to_won,
    leads.deals_won,
    leads.deals_became,
    leads.is_created_unknown or coalesce(leads.conversion_basis = 'last_seen', false) as is_left_out,
    {{ days_between('leads.created_on', 'leads.as_of') }} as age_days,
    {{ days_between('leads.created_on', 'coalesce(leads.converted_on, leads.disqualified_on, leads.as_of)') }} as followed_days,
    credits.deals_credited,
    credits.won_deals_credited,
    credits.won_amount,
    calendar.month_label,
    calendar.month_start_on,
    calendar.month_end_on,
    calendar.quarter_label,
    calendar.quarter_start_on,
    calendar.quarter_end_on,
    calendar.year_label,
    calendar.year_start_on,
    calendar.year_end_on,
    'all' as all_label,
    min(leads.created_on) over (partition by leads.is_deleted) as all_start_on,
    leads.as_of as all_end_on,
    leads.as_of
  from {{ ref('fct_leads') }} as leads
  left join credits on leads.lead_key = credits.lead_key
  left join {{ ref('dim_date') }} as calendar on leads.created_on = calendar.date_day
  where not leads.is_deleted and leads.excluded_by is null
),

-- leads from before the calendar of the deals are in the period all only
in_periods as (
  {%- for period_type in ['month', 'quarter', 'year', 'all'] %}
  select
    '{{ period_type }}' as period_type,
    {{ period_type }}_label as period,
    {{ period_type }}_start_on as period_start,
    {{ period_type }}_end_on as period_end,
    leads.*
  from leads
  where {{ period_type }}_label is not null
  {%- if not loop.last %}
  union all
  {%- endif %}
  {%- endfor %}
),

members as (
  {%- for segment_type, segment in [('total', "'all'"), ('source', 'lead_source'), ('owner', 'owner')] %}
  select
    '{{ segment_type }}' as segment_type,
    {{ segment }} as segment,
    in_periods.*
  from in_periods
  {%- if not loop.last %}
  union all
  {%- endif %}
  {%- endfor %}
),

cells as (
  select
    {{ cell }},
    row_number() over (order by {{ cell }}) as cell_number,
    min(period_start) as period_start,
    max(period_end) as period_end,
    max(as_of) as as_of,
    min(all_start_on) as first_created_on,
    count(*) as leads_created,
    {%- for status in ['converted', 'disqualified', 'open'] %}
    count(case when status = '{{ status }}' then 1 end) as leads_{{ status }},
    {%- endfor %}
    count(case when status = 'converted' and deals_became = 0 then 1 end) as leads_without_deal,
    count(case when deals_won > 0 then 1 end) as leads_won,
    count(case when is_left_out then 1 end) as leads_left_out,
    cast(coalesce(sum(deals_credited), 0) as bigint) as deals_from_leads,
    cast(coalesce(sum(won_deals_credited), 0) as bigint) as deals_won,
    cast(sum(won_amount) as decimal(38, 3)) as won_amount,
    {{ quantile('days_to_conversion', 0.5) }} as completed_median_days,
    {{ quantile('days_to_conversion', 0.9) }} as completed_p90_days,
    {{ quantile('days_to_won', 0.5) }} as completed_median_days_to_won,
    count(days_to_conversion) as conversions_timed,
    count(days_to_won) as wins_timed,
    {%- for horizon in horizons %}
    count(case when not is_left_out and age_days >= {{ horizon }} then 1 end) as matured_{{ horizon }},
    count(case when not is_left_out and age_days >= {{ horizon }} and days_to_conversion <= {{ horizon }} then 1 end) as converted_{{ horizon }},
    count(case when not is_left_out and age_days >= {{ horizon }} and days_to_won <= {{ horizon }} then 1 end) as won_{{ horizon }}{{ ',' if not loop.last }}
    {%- endfor %}
  from members
  group by {{ cell }}
),

-- the horizons are ages, too, so that the curve has a row for each
ages as (
  select
    cells.cell_number,
    members.followed_days as age_days,
    case when members.status = 'converted' then 1 else 0 end as conversions,
    case when members.status <> 'open' then 1 else 0 end as endings,
    1 as leaving
  from members
  inner join cells
    on members.period_type = cells.period_type
      and members.period = cells.period
      and members.segment_type = cells.segment_type
      and members.segment = cells.segment
  where not members.is_left_out
  {%- for horizon in horizons %}
  union all
  select
    cell_number,
    {{ horizon }} as age_days,
    0 as conversions,
    0 as endings,
    0 as leaving
  from cells
  {%- endfor %}
),

by_age as (
  select
    cell_number,
    age_days,
    cast(sum(conversions) as double) as conversions,
    cast(sum(endings) as double) as endings,
    sum(leaving) - sum(endings) as censored,
    sum(leaving) as leaving
  from ages
  group by cell_number, age_days
),

at_risk as (
  select
    *,
    cast(sum(leaving) over (
      partition by cell_number
      order by age_days desc
      rows between unbounded preceding and current row
    ) as double) as leads_at_risk,
    coalesce(sum(censored) over (
      partition by cell_number
      order by age_days
      rows between unbounded preceding and 1 preceding
    ), 0) as censored_before
  from by_age
),

-- where all that were left ended at one age, nobody is open after it
still_open as (
  select
    *,
    {{ share_still_open('endings', 'leads_at_risk', 'before_it') }} as share_open_before
  from at_risk
  window before_it as (
    partition by cell_number
    order by age_days
    rows between unbounded preceding and 1 preceding
  )
),

curve as (
  select
    still_open.cell_number,
    still_open.age_days,
    cast(still_open.leads_at_risk as bigint) as leads_at_risk,
    still_open.leads_at_risk >= context.min_sample_median or still_open.censored_before = 0 as is_told,
    least(1e0, sum(case when still_open.conversions > 0 then still_open.share_open_before * still_open.conversions / still_open.leads_at_risk else 0e0 end) over (
      partition by still_open.cell_number
      order by still_open.age_days
      rows between unbounded preceding and current row
    )) as share_converted
  from still_open
  cross join context
),

-- 1e-9: half is half, whatever the sum left of it
medians as (
  select
    cell_number,
    min(age_days) as median_days
  from curve
  where is_told and share_converted >= 0.5e0 - 1e-9
  group by cell_number
),

by_horizon as (
  {%- for horizon in horizons %}
  select
    '{{ horizon }}d' as horizon,
    {{ horizon }} as horizon_days,
    cells.*,
    cells.matured_{{ horizon }} as leads_matured,
    cells.matured_{{ horizon }} as rate_denominator,
    cells.converted_{{ horizon }} as rate_numerator,
    cells.won_{{ horizon }} as won_numerator
  from cells
  union all
  {%- endfor %}
  select
    'to_date' as horizon,
    null as horizon_days,
    cells.*,
    cells.leads_created - cells.leads_open as leads_matured,
    cells.leads_created as rate_denominator,
    cells.leads_converted as rate_numerator,
    cells.leads_won as won_numerator
  from cells
),

compared as (
  select
    by_horizon.*,
    sum(case when segment <> '(none)' then rate_numerator else 0 end) over segments
    + case when segment = '(none)' then rate_numerator else 0 end as compared_numerator,
    sum(case when segment <> '(none)' then rate_denominator else 0 end) over segments
    + case when segment = '(none)' then rate_denominator else 0 end as compared_denominator,
    count(case when segment <> '(none)' and rate_denominator >= context.min_sample then 1 end) over segments as segments_compared,
    rate_denominator < context.min_sample as sample_too_small,
    context.min_sample,
    context.min_sample_median,
    context.definition_version
  from by_horizon
  cross join context
  window segments as (partition by period_type, period, segment_type, horizon)
),

final as (
  select
    compared.period_type,
    compared.period,
    compared.period_start,
    compared.period_end,
    compared.period_end <= compared.as_of as is_complete_period,
    case when compared.period_start < compared.first_created_on then 'partial' else 'full' end as history_status,
    compared.segment_type,
    compared.segment,
    compared.horizon,
    cast(compared.horizon_days as int) as horizon_days,
    compared.leads_created,
    compared.leads_converted,
    compared.leads_without_deal,
    compared.leads_disqualified,
    compared.leads_open,
    compared.leads_won,
    compared.leads_left_out,
    compared.leads_matured,
    {{ safe_rate('compared.leads_matured', 'compared.leads_created') }} as matured_share,
    compared.rate_numerator as conversion_numerator,
    compared.rate_denominator as conversion_denominator,
    {{ sampled_rate('compared.rate_numerator', 'compared.rate_denominator', 'compared.min_sample') }} as conversion_rate,
    {{ wilson_low('compared.rate_numerator', 'compared.rate_denominator') }} as rate_low,
    {{ wilson_high('compared.rate_numerator', 'compared.rate_denominator') }} as rate_high,
    case
      when compared.segment_type <> 'total' and not compared.sample_too_small
        then {{ differs_from_rest(
          'compared.rate_numerator', 'compared.rate_denominator', 'compared.compared_numerator', 'compared.compared_denominator',
          'compared.segments_compared'
        ) }}
    end as differs_from_total,
    compared.sample_too_small,
    compared.won_numerator,
    compared.rate_denominator as won_denominator,
    {{ sampled_rate('compared.won_numerator', 'compared.rate_denominator', 'compared.min_sample') }} as won_rate,
    case when curve.is_told and compared.leads_created - compared.leads_left_out >= compared.min_sample then curve.share_converted end as conversion_incidence,
    curve.leads_at_risk,
    cast(case when compared.leads_created - compared.leads_left_out >= compared.min_sample then medians.median_days end as int) as median_days,
    case when compared.conversions_timed >= compared.min_sample_median then cast(compared.completed_median_days as double) end as completed_median_days,
    case when compared.conversions_timed >= compared.min_sample_median then cast(compared.completed_p90_days as double) end as completed_p90_days,
    case when compared.wins_timed >= compared.min_sample_median then cast(compared.completed_median_days_to_won as double) end as completed_median_days_to_won,
    compared.deals_from_leads,
    compared.deals_won,
    compared.won_amount,
    compared.as_of,
    compared.definition_version
  from compared
  left join curve
    on compared.cell_number = curve.cell_number
      and compared.horizon_days = curve.age_days
  left join medians on compared.cell_number = medians.cell_number
)

select * from final
