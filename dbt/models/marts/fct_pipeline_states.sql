-- Deals as they stood at the ends of days: what came and went within a day is left out, but a day's closing stays known.
with context as (
  select * from {{ ref('stg_run_context') }}
),

versions as (
  select
    versions.*,
    -- an outcome that is corrected is a closing anew: what was lost is booked then
    versions.status <> 'open' and coalesce(lag(versions.status) over deal_line, 'open') <> versions.status as is_closing
  from {{ ref('fct_deal_versions') }} as versions
  cross join context
  where versions.valid_from_date <= context.as_of
  window deal_line as (partition by versions.deal_key order by versions.version_number)
),

-- a closing counts until the next one
placed as (
  select
    versions.*,
    min(versions.valid_from_date) over (partition by versions.deal_key) as first_seen_on,
    max(case when versions.is_closing then versions.valid_from_date end) over deal_so_far as last_closing_on
  from versions
  window deal_so_far as (
    partition by versions.deal_key
    order by versions.version_number
    rows between unbounded preceding and current row
  )
),

days as (
  select
    *,
    case when is_deleted then 'removed' when excluded_by is not null then 'excluded' else status end as phase,
    row_number() over (partition by deal_key order by version_number) as state_number
  from placed
  where valid_to_date is null or valid_to_date > valid_from_date
),

final as (
  select
    days.deal_key,
    cast(days.state_number as int) as state_number,
    days.source_relation,
    days.valid_from_date,
    coalesce(days.valid_to_date, date '9999-12-31') as valid_to_date,
    days.first_seen_on,
    days.phase,
    case when days.phase not in ('open', 'removed', 'excluded') then days.last_closing_on end as closed_on,
    case
      when days.phase in ('open', 'removed', 'excluded') then null
      when days.phase = 'won' and context.dates_won = 'close_date' then coalesce(days.close_date, days.last_closing_on)
      when days.phase = 'lost' and context.dates_lost = 'close_date' then coalesce(days.close_date, days.last_closing_on)
      else days.last_closing_on
    end as valued_on,
    days.amount_native,
    days.currency,
    days.close_date,
    days.stage_key,
    days.credit_owner_key as owner_key,
    owners.owner,
    owners.team,
    days.pipeline_key,
    pipelines.pipeline,
    coalesce({{ region_of('context.segments_region_from', 'deals.region', 'owners.region', 'accounts.region') }}, '(none)') as region
  from days
  cross join context
  inner join {{ ref('int_deals') }} as deals on days.deal_key = deals.deal_key
  inner join {{ ref('dim_owner') }} as owners on days.credit_owner_key = owners.owner_key
  inner join {{ ref('dim_pipeline') }} as pipelines on days.pipeline_key = pipelines.pipeline_key
  left join {{ ref('dim_account') }} as accounts
    on deals.source_relation = accounts.source_relation
      and deals.account_id = accounts.account_id
)

select * from final
