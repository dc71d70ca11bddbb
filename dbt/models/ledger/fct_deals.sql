-- The accumulating snapshot: each deal with its dates, amounts and flags as they stood at the end of as_of.
with context as (
  select * from {{ ref('stg_run_context') }}
),

versions as (
  select versions.*
  from {{ ref('fct_deal_versions') }} as versions
  cross join context
  where versions.valid_from_date <= context.as_of
    and (versions.valid_to_date is null or versions.valid_to_date > context.as_of)
    and coalesce(versions.deleted_reason, '') <> 'merged'
),

visits as (
  select visits.*
  from {{ ref('int_stage_visits') }} as visits
  cross join context
  where visits.entered_on <= context.as_of
),

qualified_stages as (
  select
    stages.pipeline_key,
    min(stages.stage_order) as stage_order
  from {{ ref('dim_stage') }} as stages
  inner join context
    on lower(context.qualified_stage) in (lower(stages.stage), lower(stages.stage_id))
  where stages.is_open
  group by stages.pipeline_key
),

qualified_entries as (
  select
    visits.deal_key,
    min(visits.entered_on) as qualified_on
  from visits
  inner join {{ ref('dim_stage') }} as stages on visits.stage_key = stages.stage_key
  inner join qualified_stages on stages.pipeline_key = qualified_stages.pipeline_key
  where visits.is_open_stage
    and not visits.is_entry_unknown
    and stages.stage_order >= qualified_stages.stage_order
  group by visits.deal_key
),

path as (
  select
    deal_key,
    max(visit_seq) as last_visit_seq,
    min(case when visit_seq = 1 and not is_entry_unknown then entered_on end) as first_entered_on,
    min(case when visit_seq = 1 then stage_status end) as first_status,
    max(case when is_open_stage then visit_seq end) as last_open_visit_seq,
    max(case when not is_open_stage and entry_type <> 'closed_move' then visit_seq end) as last_closed_visit_seq,
    max(case when is_open_stage and stage_rank > 0 then stage_rank end) as max_rank_reached
  from visits
  group by deal_key
),

deals as (
  select * from {{ ref('int_deals') }}
),

owners as (
  select
    owner_key,
    team_key,
    region
  from {{ ref('dim_owner') }}
),

joined as (
  select
    versions.deal_key,
    versions.source_relation,
    versions.deal_id,
    deals.deal_name,
    versions.pipeline_id,
    versions.pipeline_key,
    versions.stage_id,
    versions.stage_key,
    stages.stage,
    current_visit.stage_rank,
    versions.status,
    versions.is_deleted,
    deals.created_at,
    {{ business_date('deals.created_at', 'context.time_zone') }} as created_on,
    path.first_entered_on,
    path.first_status,
    qualified_entries.qualified_on,
    versions.close_date,
    case when versions.status <> 'open' then closed_visit.entered_at end as closed_at,
    case when versions.status <> 'open' then closed_visit.entered_on end as closed_on,
    versions.amount_native,
    versions.currency,
    deals.currency is null as is_currency_assumed,
    versions.owner_key,
    versions.owner_id,
    case when versions.status <> 'open' then closed_visit.owner_key else versions.owner_key end as credit_owner_key,
    case
      when deals.account_id is null then {{ none_key() }}
      else {{ hash_key(['versions.source_relation', 'deals.account_id']) }}
    end as account_key,
    case
      when deals.product_id is null then {{ none_key() }}
      else {{ hash_key(['versions.source_relation', 'deals.product_id']) }}
    end as product_key,
    deals.region as deal_region,
    deals.country as deal_country,
    deals.lead_source,
    deals.deal_type,
    versions.forecast_category,
    versions.probability,
    deals.lost_reason,
    case when versions.status = 'lost' then lost_from.stage end as stage_lost_at,
    case when versions.status = 'lost' then lost_from.stage_key end as stage_lost_at_key,
    deals.next_step,
    deals.last_activity_at,
    deals.deal_url,
    versions.push_count_so_far,
    current_visit.entered_on as stage_entered_on,
    current_visit.is_entry_unknown and not coalesce(current_visit.is_entry_dated, false) as is_stage_entry_unknown,
    path.max_rank_reached,
    versions.amount_asof_quality,
    versions.close_date_asof_quality,
    versions.excluded_by,
    context.as_of,
    context.dates_won,
    context.dates_lost,
    context.segments_region_from,
    context.cycle_from,
    context.qualified_stage
  from versions
  cross join context
  inner join deals on versions.deal_key = deals.deal_key
  inner join path on versions.deal_key = path.deal_key
  left join qualified_entries on versions.deal_key = qualified_entries.deal_key
  inner join visits as current_visit
    on path.deal_key = current_visit.deal_key
      and path.last_visit_seq = current_visit.visit_seq
  left join visits as closed_visit
    on path.deal_key = closed_visit.deal_key
      and path.last_closed_visit_seq = closed_visit.visit_seq
  left join visits as lost_from
    on path.deal_key = lost_from.deal_key
      and path.last_open_visit_seq = lost_from.visit_seq
  left join {{ ref('dim_stage') }} as stages on versions.stage_key = stages.stage_key
),

dated as (
  select
    joined.*,
    case when status = 'won' then case when dates_won = 'event' then closed_on else coalesce(close_date, closed_on) end end as won_on,
    case when status = 'lost' then case when dates_lost = 'event' then closed_on else coalesce(close_date, closed_on) end end as lost_on,
    case
      when cycle_from <> 'stage' then coalesce(created_on, first_entered_on)
      when qualified_stage is null then first_entered_on
      else qualified_on
    end as cycle_start_on,
    case
      when cycle_from = 'stage' and qualified_stage is not null then 'qualified_stage_entry'
      when cycle_from = 'stage' or created_on is null then 'first_stage_entry'
      else 'created'
    end as cycle_start_basis,
    status <> 'open' and (first_status <> 'open' or coalesce(created_at >= closed_at, false)) as is_import
  from joined
),

final as (
  select
    dated.deal_key,
    dated.source_relation,
    dated.deal_id,
    dated.deal_name,
    dated.pipeline_id,
    dated.pipeline_key,
    dated.stage_id,
    dated.stage_key,
    dated.stage,
    dated.stage_rank,
    dated.status,
    dated.is_deleted,
    dated.created_at,
    dated.created_on,
    dated.first_entered_on,
    dated.qualified_on,
    dated.cycle_start_on,
    dated.cycle_start_basis,
    dated.close_date,
    dated.closed_at as closed_at_event,
    dated.closed_on,
    dated.won_on,
    dated.lost_on,
    dated.is_import,
    case
      when dated.status = 'won' and not dated.is_import and dated.won_on >= dated.cycle_start_on
        then {{ days_between('dated.cycle_start_on', 'dated.won_on') }}
    end as sales_cycle_days,
    dated.amount_native,
    dated.currency,
    cast(dated.amount_native * fx_rates.rate as decimal(20, 3)) as amount_base,
    dated.amount_native is null as is_amount_missing,
    dated.amount_native is not null and fx_rates.rate is null as is_rate_missing,
    cast(dated.amount_native * plan_rates.plan_rate as decimal(20, 3)) as amount_plan,
    case when plans.has_plan_rates then dated.amount_native is not null and plan_rates.plan_rate is null end as is_plan_rate_missing,
    dated.is_currency_assumed,
    cast(products.list_price * list_price_rates.rate as decimal(20, 3)) as list_price_amount_base,
    dated.owner_key,
    dated.owner_id,
    dated.credit_owner_key,
    coalesce(owners.team_key, {{ none_key() }}) as team_key,
    dated.account_key,
    dated.product_key,
    coalesce(accounts.industry, '(none)') as industry,
    coalesce({{ region_of('dated.segments_region_from', 'dated.deal_region', 'owners.region', 'accounts.region') }}, '(none)') as region,
    coalesce(dated.deal_country, accounts.country, '(none)') as country,
    coalesce(dated.lead_source, '(none)') as lead_source,
    coalesce(dated.deal_type, '(none)') as deal_type,
    dated.forecast_category,
    dated.probability,
    dated.lost_reason,
    dated.stage_lost_at,
    dated.stage_lost_at_key,
    dated.next_step,
    dated.last_activity_at,
    dated.deal_url,
    dated.push_count_so_far as push_count,
    dated.stage_entered_on,
    case when not dated.is_stage_entry_unknown then {{ days_between('dated.stage_entered_on', 'dated.as_of') }} end as days_in_stage,
    case when dated.status = 'open' then {{ days_between('dated.created_on', 'dated.as_of') }} end as deal_age_days,
    dated.max_rank_reached,
    dated.amount_asof_quality,
    dated.close_date_asof_quality,
    dated.excluded_by,
    dated.as_of
  from dated
  cross join (select count(*) > 0 as has_plan_rates from {{ ref('dim_plan_rate') }}) as plans
  left join owners on dated.credit_owner_key = owners.owner_key
  left join {{ ref('dim_account') }} as accounts on dated.account_key = accounts.account_key
  left join {{ ref('dim_product') }} as products on dated.product_key = products.product_key
  left join {{ ref('int_fx_rates') }} as fx_rates
    on dated.currency = fx_rates.currency
      and least(coalesce(dated.won_on, dated.lost_on, dated.closed_on, dated.as_of), dated.as_of) >= fx_rates.valid_from_date
      and least(coalesce(dated.won_on, dated.lost_on, dated.closed_on, dated.as_of), dated.as_of) < fx_rates.valid_to_date
  left join {{ ref('dim_plan_rate') }} as plan_rates
    on dated.currency = plan_rates.currency
      and least(coalesce(dated.won_on, dated.lost_on, dated.closed_on, dated.as_of), dated.as_of) >= plan_rates.valid_from_date
      and least(coalesce(dated.won_on, dated.lost_on, dated.closed_on, dated.as_of), dated.as_of) < plan_rates.valid_to_date
  left join {{ ref('int_fx_rates') }} as list_price_rates
    on coalesce(products.currency, dated.currency) = list_price_rates.currency
      and dated.as_of >= list_price_rates.valid_from_date
      and dated.as_of < list_price_rates.valid_to_date
)

select * from final
