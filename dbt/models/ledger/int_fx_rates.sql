-- One rate per currency and span of days; the reporting currency has rate 1 for ever.
with context as (
  select currency from {{ ref('stg_run_context') }}
),

ranked as (
  select
    currency,
    rate_date,
    rate,
    row_number() over (
      partition by currency, rate_date
      order by recorded_on desc nulls last, rate
    ) as newest_first
  from {{ ref('stg_fx_rates') }}
  where rate > 0 and rate_date is not null
),

spans as (
  select
    upper(ranked.currency) as currency,
    ranked.rate,
    ranked.rate_date as valid_from_date,
    lead(ranked.rate_date) over (partition by ranked.currency order by ranked.rate_date) as valid_to_date
  from ranked
  inner join context on upper(ranked.currency) <> context.currency
  where ranked.newest_first = 1
),

final as (
  select
    currency,
    rate,
    valid_from_date,
    coalesce(valid_to_date, date '9999-12-31') as valid_to_date
  from spans
  union all
  select
    currency,
    cast(1 as double) as rate,
    date '1900-01-01' as valid_from_date,
    date '9999-12-31' as valid_to_date
  from context
)

select * from final
