-- Every deal with all that somebody filters, groups or adds up by; joins and rules are done here, so that a BI tool needs none.
with context as (
  select
    as_of,
    definition_version
  from {{ ref('stg_run_context') }}
),

deals as (
  select * from {{ ref('fct_deals') }}
),

-- the deals that metrics count
outcomes as (
  select * from {{ ref('int_deal_outcomes') }}
),

losses as (
  select * from {{ ref('int_lost_deals') }}
),

calendar as (
  select * from {{ ref('dim_date') }}
),

stage_sorts as (
  {{ stage_sorts() }}
),

own_products as (
  select
    deal_key,
    segment as product
  from {{ ref('int_deal_segments') }}
  where segment_type = 'product' and is_counted
),

product_names as (
  select
    source_relation,
    product,
    min(product_key) as product_key
  from {{ ref('dim_product') }}
  group by source_relation, product
),

joined as (
  select
    deals.*,
    pipelines.pipeline,
    stages.stage_sort,
    -- as in mart_forecast_category_daily: the deal's own word, else its stage's, and nothing that is open is closed
    case
      when deals.status = 'won' then 'closed'
      else coalesce(
        nullif({{ forecast_category('deals.forecast_category') }}, 'closed'),
        nullif({{ forecast_category('all_stages.forecast_category') }}, 'closed'),
        '(none)'
      )
    end as known_forecast_category,
    -- a CRM keeps the probability with the deal or with the stage
    cast(coalesce(deals.probability, all_stages.probability) as decimal(9, 6)) as known_probability,
    credited.owner as credited_owner,
    credited.team as credited_team,
    credited.manager as credited_manager,
    credited.is_active as is_credited_owner_active,
    current_owners.owner as current_owner,
    accounts.account,
    coalesce(own_products.product, '(none)') as own_product,
    case
      when deals.product_key <> {{ none_key() }} then deals.product_key
      else coalesce(product_names.product_key, {{ none_key() }})
    end as own_product_key,
    outcomes.started_on,
    outcomes.outcome,
    outcomes.outcome_on,
    records.competitor,
    losses.loss_reason,
    losses.loss_class,
    lost_from.stage_sort as stage_lost_at_sort,
    health.pace,
    health.worklist,
    health.reason_text,
    health.next_best_fix,
    health.hygiene_score_numerator,
    health.hygiene_score_denominator,
    context.definition_version
  from deals
  cross join context
  inner join outcomes on deals.deal_key = outcomes.deal_key
  inner join {{ ref('dim_pipeline') }} as pipelines on deals.pipeline_key = pipelines.pipeline_key
  inner join {{ ref('dim_stage') }} as all_stages on deals.stage_key = all_stages.stage_key
  inner join stage_sorts as stages on all_stages.stage = stages.stage
  inner join {{ ref('dim_owner') }} as credited on deals.credit_owner_key = credited.owner_key
  inner join {{ ref('dim_owner') }} as current_owners on deals.owner_key = current_owners.owner_key
  inner join {{ ref('dim_account') }} as accounts on deals.account_key = accounts.account_key
  inner join {{ ref('int_deals') }} as records on deals.deal_key = records.deal_key
  left join own_products on deals.deal_key = own_products.deal_key
  left join product_names
    on deals.source_relation = product_names.source_relation
      and own_products.product = product_names.product
  left join losses on deals.deal_key = losses.deal_key
  left join stage_sorts as lost_from on deals.stage_lost_at = lost_from.stage
  left join {{ ref('mart_deal_health') }} as health on deals.deal_key = health.deal_key
),

final as (
  select
    joined.deal_key,
    joined.deal_id,
    joined.deal_name,
    joined.deal_url,
    joined.source_relation,
    joined.status,
    {{ sort_of('joined.status', ['open', 'won', 'lost', 'closed_other']) }} as status_sort,
    joined.pipeline,
    joined.pipeline_key,
    joined.stage,
    joined.stage_sort,
    joined.stage_key,
    joined.credited_owner as owner,
    joined.credit_owner_key as owner_key,
    joined.is_credited_owner_active as is_owner_active,
    joined.credited_team as team,
    joined.team_key,
    coalesce(joined.credited_manager, '(none)') as manager,
    joined.current_owner,
    joined.owner_key as current_owner_key,
    joined.account,
    joined.account_key,
    joined.industry,
    joined.own_product as product,
    joined.own_product_key as product_key,
    joined.region,
    joined.country,
    joined.lead_source,
    joined.deal_type,
    joined.known_forecast_category as forecast_category,
    {{ sort_of('joined.known_forecast_category', ['closed', 'commit', 'most_likely', 'best_case', 'pipeline', 'omitted']) }} as forecast_category_sort,
    cast(joined.known_probability as double) as probability,
    joined.started_on,
    started.month_label as started_month,
    started.quarter_label as started_quarter,
    joined.close_date,
    due.month_label as close_month,
    due.quarter_label as close_quarter,
    due.quarter_offset as close_quarter_offset,
    coalesce(joined.status = 'open' and joined.close_date < joined.as_of, false) as is_past_due,
    joined.outcome_on,
    ended.month_label as outcome_month,
    ended.quarter_label as outcome_quarter,
    joined.stage_entered_on,
    case when joined.status = 'open' then joined.days_in_stage end as days_in_stage,
    joined.deal_age_days,
    joined.sales_cycle_days,
    joined.push_count,
    cast(joined.last_activity_at as date) as last_activity_on,
    joined.next_step,
    case when joined.status = 'lost' then coalesce(joined.loss_reason, '(none)') end as loss_reason,
    case when joined.status = 'lost' then coalesce(joined.loss_class, 'unknown') end as loss_class,
    joined.stage_lost_at,
    joined.stage_lost_at_sort,
    coalesce(nullif(trim(joined.competitor), ''), '(none)') as competitor,
    joined.pace,
    case when joined.pace is not null then {{ sort_of('joined.pace', ['on_pace', 'slow', 'stalled', 'dead']) }} end as pace_sort,
    joined.worklist,
    case when joined.worklist is not null then {{ sort_of('joined.worklist', ['look_at_today', 'propose_to_close', 'fine']) }} end as worklist_sort,
    joined.reason_text as health_in_words,
    joined.next_best_fix,
    1 as deals,
    case when joined.started_on <= joined.as_of then 1 else 0 end as deals_created,
    case when joined.status = 'open' then 1 else 0 end as deals_open,
    case when joined.outcome = 'won' then 1 else 0 end as deals_won,
    case when joined.outcome = 'lost' then 1 else 0 end as deals_lost,
    case when joined.outcome = 'closed_other' then 1 else 0 end as deals_closed_other,
    joined.amount_base as deal_amount,
    case when joined.status = 'open' then joined.amount_base end as open_amount,
    cast(case when joined.status = 'open' then joined.amount_base * joined.known_probability end as decimal(20, 3)) as weighted_amount,
    case when joined.outcome = 'won' then joined.amount_base end as won_amount,
    case when joined.outcome = 'lost' then joined.amount_base end as lost_amount,
    joined.amount_native,
    joined.currency,
    joined.is_amount_missing,
    joined.is_rate_missing,
    joined.hygiene_score_numerator,
    joined.hygiene_score_denominator,
    joined.as_of,
    joined.definition_version
  from joined
  left join calendar as started on joined.started_on = started.date_day
  left join calendar as due on joined.close_date = due.date_day
  left join calendar as ended on joined.outcome_on = ended.date_day
)

select * from final
