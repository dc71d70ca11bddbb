with context as (
  select * from {{ ref('stg_run_context') }}
),

periods as (
  {%- for period_type in ['month', 'quarter', 'year'] %}
  select
    '{{ period_type }}' as period_type,
    {{ period_type }}_label as period,
    {{ period_type }}_start_on as period_start,
    {{ period_type }}_end_on as period_end
  from {{ ref('dim_date') }}
  group by {{ period_type }}_label, {{ period_type }}_start_on, {{ period_type }}_end_on
  {%- if not loop.last %}
  union all
  {%- endif %}
  {%- endfor %}
),

-- a quota that was raised counts with its newest value known by as_of
told as (
  select
    quotas.period,
    lower(coalesce(quotas.segment_type, 'total')) as segment_type,
    case when lower(coalesce(quotas.segment_type, 'total')) = 'total' then 'all' else coalesce(quotas.segment, '(none)') end as segment,
    quotas.quota_native,
    upper(coalesce(quotas.currency, context.currency)) as currency,
    quotas.recorded_on
  from {{ ref('stg_quotas') }} as quotas
  cross join context
  where quotas.quota_native is not null
    and (quotas.recorded_on is null or quotas.recorded_on <= context.as_of)
),

ranked as (
  select
    *,
    row_number() over (partition by period, segment_type, segment order by recorded_on desc nulls last, quota_native desc, currency) as newest_first,
    count(*) over (partition by period, segment_type, segment) as values_recorded
  from told
),

final as (
  select
    periods.period_type,
    ranked.period,
    periods.period_start,
    periods.period_end,
    ranked.segment_type,
    ranked.segment,
    ranked.quota_native,
    ranked.currency,
    cast(ranked.quota_native * rates.rate as decimal(20, 3)) as quota_amount,
    ranked.recorded_on,
    cast(ranked.values_recorded as bigint) as values_recorded,
    context.as_of
  from ranked
  cross join context
  inner join periods on ranked.period = periods.period
  left join {{ ref('int_fx_rates') }} as rates
    on ranked.currency = rates.currency
      and least(periods.period_start, context.as_of) >= rates.valid_from_date
      and least(periods.period_start, context.as_of) < rates.valid_to_date
  where ranked.newest_first = 1
)

select * from final
