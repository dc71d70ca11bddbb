-- A view over published tables, so that the file holds nothing twice.
with calendar as (
  select * from {{ ref('dim_date') }}
),

stage_sorts as (
  {{ stage_sorts() }}
),

as_of_day as (
  select max(date_day) as snapshot_on
  from calendar
  where is_complete
),

-- the running week has its evening, too: that of as_of
evenings as (
  select
    snapshots.*,
    calendar.week_label,
    calendar.week_end_on,
    calendar.week_offset,
    calendar.quarter_label,
    newest.snapshot_on as newest_on
  from {{ ref('fct_pipeline_snapshot') }} as snapshots
  inner join calendar on snapshots.snapshot_on = calendar.date_day
  cross join as_of_day as newest
  where snapshots.is_week_end or snapshots.snapshot_on = newest.snapshot_on
),

final as (
  select
    evenings.week_end_on,
    evenings.deal_key,
    evenings.week_label as week,
    evenings.week_offset,
    evenings.snapshot_on,
    evenings.snapshot_on = evenings.newest_on as is_newest,
    evenings.quarter_label as quarter,
    deals.deal_id,
    deals.deal_name,
    deals.deal_url,
    evenings.source_relation,
    evenings.pipeline,
    evenings.pipeline_key,
    stages.stage,
    stage_sorts.stage_sort,
    evenings.stage_key,
    evenings.owner,
    evenings.owner_key,
    evenings.team,
    owners.team_key,
    coalesce(accounts.account, '(none)') as account,
    coalesce(facts.account_key, {{ none_key() }}) as account_key,
    coalesce(facts.industry, '(none)') as industry,
    coalesce(deals.product, '(none)') as product,
    coalesce(facts.product_key, {{ none_key() }}) as product_key,
    evenings.region,
    coalesce(facts.country, '(none)') as country,
    coalesce(deals.lead_source, '(none)') as lead_source,
    coalesce(deals.deal_type, '(none)') as deal_type,
    evenings.close_date,
    due.month_label as close_month,
    due.quarter_label as close_quarter,
    evenings.close_quarter_offset,
    evenings.is_past_due,
    1 as deals_open,
    evenings.open_amount,
    evenings.amount_native,
    evenings.currency,
    evenings.definition_version
  from evenings
  inner join {{ ref('dim_deal') }} as deals on evenings.deal_key = deals.deal_key
  inner join {{ ref('dim_owner') }} as owners on evenings.owner_key = owners.owner_key
  inner join {{ ref('dim_stage') }} as stages on evenings.stage_key = stages.stage_key
  inner join stage_sorts on stages.stage = stage_sorts.stage
  left join {{ ref('fct_deals') }} as facts on evenings.deal_key = facts.deal_key
  left join {{ ref('dim_account') }} as accounts on facts.account_key = accounts.account_key
  left join calendar as due on evenings.close_date = due.date_day
)

select * from final
