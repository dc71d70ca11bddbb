-- The share of each cohort that was won within so many days. Aalen and Johansen (1978, Scand. J. Statist. 5, 141-150):
-- losing is a competing event, open deals count for as long as they were followed. Variance by the delta method (Collett,
-- Modelling Survival Data in Medical Research, 3rd ed., p. 411, from Greenwood's).
{%- set period_types = ['month', 'quarter', 'year', 'all'] %}
{%- set horizons = [30, 60, 90, 180, 365] %}
{%- set cell = 'cohort_by, period_type, period, segment_type, segment' %}
with context as (
  select * from {{ ref('stg_run_context') }}
),

cohorts as (
  {{ in_each_period(ref('int_win_cohorts'), 'cohort_on', period_types) }}
),

-- accounts have too few deals to be a cohort
members as (
  select
    cohorts.*,
    segments.segment_type,
    segments.segment
  from cohorts
  inner join {{ ref('int_deal_segments') }} as segments on cohorts.deal_key = segments.deal_key
  where segments.is_counted
    and segments.segment_type <> 'account'
),

cells as (
  select
    {{ cell }},
    row_number() over (order by {{ cell }}) as cell_number,
    count(case when not is_import then 1 end) as deals_in_cohort,
    {%- for outcome in ['won', 'lost', 'closed_other', 'open'] %}
    count(case when not is_import and outcome = '{{ outcome }}' then 1 end) as deals_{{ outcome }},
    {%- endfor %}
    count(case when not is_import and outcome_side = 'excluded' then 1 end) as deals_excluded,
    count(case when not is_import and is_stale_open then 1 end) as deals_stale_open,
    count(case when is_import then 1 end) as deals_imported,
    count(case when not is_import and not is_usable then 1 end) as deals_left_out,
    count(case when is_usable and seen_from_days = 0 then 1 end) as deals_seen_from_start,
    {%- for horizon in horizons %}
    count(case when not is_import and days_to_as_of >= {{ horizon }} then 1 end) as deals_matured_{{ horizon }},
    {%- endfor %}
    max(case when is_usable then followed_days end) as longest_days
  from members
  group by {{ cell }}
),

usable as (
  select
    cells.cell_number,
    members.followed_days,
    members.seen_from_days,
    members.outcome
  from members
  inner join cells
    on members.cohort_by = cells.cohort_by
      and members.period_type = cells.period_type
      and members.period = cells.period
      and members.segment_type = cells.segment_type
      and members.segment = cells.segment
  where members.is_usable
),

-- a deal leaves the ones at risk after it ended, and joins them at the age from which it was seen; the horizons are
-- ages, too, so that the curve has a row for each
ages as (
  select
    cell_number,
    followed_days as age_days,
    case when outcome = 'won' then 1 else 0 end as wins,
    case when outcome <> 'open' then 1 else 0 end as endings,
    1 as leaving,
    0 as joining
  from usable
  union all
  select
    cell_number,
    seen_from_days as age_days,
    0 as wins,
    0 as endings,
    0 as leaving,
    1 as joining
  from usable
  where seen_from_days > 0
  {%- for horizon in horizons %}
  union all
  select
    cell_number,
    {{ horizon }} as age_days,
    0 as wins,
    0 as endings,
    0 as leaving,
    0 as joining
  from cells
  {%- endfor %}
),

by_age as (
  select
    cell_number,
    age_days,
    cast(sum(wins) as double) as wins,
    cast(sum(endings) as double) as endings,
    sum(leaving) - sum(endings) as censored,
    sum(leaving) as leaving,
    sum(joining) as joining
  from ages
  group by cell_number, age_days
),

at_risk as (
  select
    *,
    cast(sum(leaving) over older - sum(joining) over older + joining as double) as deals_at_risk,
    sum(censored) over younger - censored as censored_before
  from by_age
  window older as (
    partition by cell_number
    order by age_days desc
    rows between unbounded preceding and current row
  ),
  younger as (
    partition by cell_number
    order by age_days
    rows between unbounded preceding and current row
  )
),

still_open as (
  select
    *,
    {{ share_still_open('endings', 'deals_at_risk', 'before_it') }} as share_open_before
  from at_risk
  window before_it as (
    partition by cell_number
    order by age_days
    rows between unbounded preceding and 1 preceding
  )
),

incidence as (
  select
    *,
    sum(case when wins > 0 then share_open_before * wins / deals_at_risk else 0e0 end) over younger as share_won
  from still_open
  window younger as (
    partition by cell_number
    order by age_days
    rows between unbounded preceding and current row
  )
),

-- the terms of the variance at each age; the sums over younger ages are multiplied out in the next step
terms as (
  select
    *,
    case when endings > 0 and endings < deals_at_risk then endings / (deals_at_risk * (deals_at_risk - endings)) else 0e0 end as a,
    case when wins > 0 then share_open_before * wins / (deals_at_risk * deals_at_risk) else 0e0 end as b,
    case
      when wins > 0 then share_open_before * share_open_before * wins * (deals_at_risk - wins) / (deals_at_risk * deals_at_risk * deals_at_risk)
      else 0e0
    end as c
  from incidence
),

curve as (
  select
    cell_number,
    age_days,
    cast(deals_at_risk as bigint) as deals_at_risk,
    censored_before,
    share_won,
    greatest(
      0e0,
      share_won * share_won * sum(a) over younger - 2e0 * share_won * sum(a * share_won) over younger
      + sum(a * share_won * share_won) over younger
      + sum(c) over younger
      - 2e0 * (share_won * sum(b) over younger - sum(b * share_won) over younger)
    ) as variance
  from terms
  window younger as (
    partition by cell_number
    order by age_days
    rows between unbounded preceding and current row
  )
),

-- the curve tells nothing where hardly a deal is followed any more, unless all of them were followed that far
told as (
  select
    curve.*,
    curve.deals_at_risk >= context.min_sample_median or curve.censored_before = 0 as is_told
  from curve
  cross join context
),

last_told as (
  select
    told.cell_number,
    max(told.age_days) as age_days
  from told
  inner join cells
    on told.cell_number = cells.cell_number
      and told.age_days <= cells.longest_days
  where told.is_told
  group by told.cell_number
),

by_horizon as (
  {%- for horizon in horizons %}
  select
    '{{ horizon }}d' as horizon,
    {{ horizon }} as horizon_days,
    cells.*,
    cells.deals_matured_{{ horizon }} as deals_matured
  from cells
  union all
  {%- endfor %}
  select
    'to_date' as horizon,
    last_told.age_days as horizon_days,
    cells.*,
    cells.deals_in_cohort - cells.deals_open as deals_matured
  from cells
  left join last_told on cells.cell_number = last_told.cell_number
),

final as (
  select
    by_horizon.cohort_by,
    by_horizon.period_type,
    by_horizon.period,
    by_horizon.segment_type,
    by_horizon.segment,
    by_horizon.horizon,
    cast(by_horizon.horizon_days as int) as horizon_days,
    {%- for column in [
      'deals_in_cohort', 'deals_won', 'deals_lost', 'deals_closed_other', 'deals_open', 'deals_excluded', 'deals_stale_open',
      'deals_imported', 'deals_left_out', 'deals_seen_from_start', 'deals_matured'
    ] %}
    by_horizon.{{ column }},
    {%- endfor %}
    told.deals_at_risk,
    cast(by_horizon.deals_in_cohort - by_horizon.deals_left_out - told.censored_before as bigint) as deals_known,
    told.share_won,
    sqrt(told.variance) as share_won_error,
    coalesce(told.is_told, false) as is_told
  from by_horizon
  left join told
    on by_horizon.cell_number = told.cell_number
      and by_horizon.horizon_days = told.age_days
)

select * from final
