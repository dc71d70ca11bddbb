-- What each state of an open deal adds to the pipeline on the day it begins, and takes away on the day it ends.
-- Only states that are there at the end of a day: a state that came and went within a day moves nothing.
with context as (
  select as_of from {{ ref('stg_run_context') }}
),

stage_history as (
  select
    stage_key,
    probability,
    valid_from_at,
    valid_to_at
  from {{ ref('dim_stage_history') }}
),

-- deals whose amount is known now, but not what it was before
priced_later as (
  select deal_key
  from {{ ref('fct_deal_versions') }}
  where amount_asof_quality = 'current_values'
  group by deal_key
),

list_prices as (
  select
    deal_key,
    list_price_amount_base
  from {{ ref('fct_deals') }}
  where list_price_amount_base is not null
),

states as (
  select
    versions.deal_key,
    versions.version_number,
    versions.source_relation,
    versions.pipeline_key,
    versions.stage_key,
    versions.currency,
    versions.amount_native,
    versions.close_date,
    versions.valid_from_date,
    versions.valid_to_date,
    versions.amount_asof_quality = 'current_values' as is_amount_current,
    versions.amount_native is null and priced_later.deal_key is not null as is_amount_unknown,
    -- a CRM keeps the probability with the deal or with the stage
    cast(coalesce(versions.probability, stage_history.probability) as decimal(9, 6)) as probability,
    case when versions.amount_native is null then list_prices.list_price_amount_base end as list_price_amount,
    context.as_of
  from {{ ref('fct_deal_versions') }} as versions
  cross join context
  left join stage_history
    on versions.stage_key = stage_history.stage_key
      and versions.valid_from_at >= stage_history.valid_from_at
      and (stage_history.valid_to_at is null or versions.valid_from_at < stage_history.valid_to_at)
  left join priced_later on versions.deal_key = priced_later.deal_key
  left join list_prices on versions.deal_key = list_prices.deal_key
  where versions.status = 'open'
    and not versions.is_deleted
    and versions.excluded_by is null
    and versions.valid_from_date <= context.as_of
    and (versions.valid_to_date is null or versions.valid_to_date > versions.valid_from_date)
),

signed as (
  select
    *,
    valid_from_date as changed_on,
    1 as sign
  from states
  union all
  select
    *,
    valid_to_date as changed_on,
    -1 as sign
  from states
  where valid_to_date <= as_of
),

final as (
  select
    deal_key,
    version_number,
    changed_on,
    cast(sign as int) as sign,
    source_relation,
    pipeline_key,
    stage_key,
    currency,
    close_date,
    cast(sign as bigint) as deals_open,
    cast(case when amount_native is null then sign else 0 end as bigint) as deals_without_amount,
    cast(case when is_amount_unknown then sign else 0 end as bigint) as deals_amount_unknown,
    cast(case when is_amount_current then sign else 0 end as bigint) as deals_amount_current,
    cast(case when close_date is null then sign else 0 end as bigint) as deals_without_close_date,
    cast(case when amount_native is not null and probability is null then sign else 0 end as bigint) as deals_without_probability,
    cast(coalesce(amount_native, 0) * sign as decimal(20, 3)) as amount_native,
    cast(coalesce(amount_native * probability, 0) * sign as decimal(38, 9)) as weighted_native,
    cast(case when list_price_amount is not null then sign else 0 end as bigint) as deals_with_list_price,
    cast(coalesce(list_price_amount, 0) * sign as decimal(20, 3)) as list_price_amount
  from signed
)

select * from final
