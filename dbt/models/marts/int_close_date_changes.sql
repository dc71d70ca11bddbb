-- Every time an open deal's close date moved while it stayed open.
with context as (
  select * from {{ ref('stg_run_context') }}
),

versions as (
  select
    versions.*,
    lag(versions.close_date) over deal_line as close_date_before,
    lag(versions.status) over deal_line as status_before
  from {{ ref('fct_deal_versions') }} as versions
  cross join context
  where versions.valid_from_date <= context.as_of
  window deal_line as (partition by versions.deal_key order by versions.version_number)
),

final as (
  select
    versions.deal_key,
    versions.version_number,
    versions.valid_from_date as changed_on,
    owners.owner,
    owners.team,
    pipelines.pipeline,
    coalesce({{ region_of('context.segments_region_from', 'deals.region', 'owners.region', 'accounts.region') }}, '(none)') as region,
    versions.close_date_before,
    versions.close_date,
    {{ days_between('versions.close_date_before', 'versions.close_date') }} as moved_days,
    coalesce(new_days.month_start_on > old_days.month_start_on, false) as is_month_push,
    coalesce(new_days.quarter_start_on > old_days.quarter_start_on, false) as is_quarter_push
  from versions
  cross join context
  inner join {{ ref('int_deals') }} as deals on versions.deal_key = deals.deal_key
  inner join {{ ref('dim_owner') }} as owners on versions.owner_key = owners.owner_key
  inner join {{ ref('dim_pipeline') }} as pipelines on versions.pipeline_key = pipelines.pipeline_key
  left join {{ ref('dim_account') }} as accounts
    on deals.source_relation = accounts.source_relation
      and deals.account_id = accounts.account_id
  left join {{ ref('dim_date') }} as new_days on versions.close_date = new_days.date_day
  left join {{ ref('dim_date') }} as old_days on versions.close_date_before = old_days.date_day
  where versions.status = 'open'
    and versions.status_before = 'open'
    and not versions.is_deleted
    and versions.excluded_by is null
    and versions.close_date <> versions.close_date_before
)

select * from final
