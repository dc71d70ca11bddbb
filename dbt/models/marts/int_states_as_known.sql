{{ config(materialized='view') }}
-- States by the evenings on which they were known: the deals without late changes as they stand, the others as they were told.
with late as (
  select deal_key
  from {{ ref('fct_deal_versions') }}
  where has_late_changes
  group by deal_key
),

-- a closed deal belongs to the owner it had when the closing was first known
told as (
  select
    as_was.*,
    deals.deal_type,
    deals.region as deal_region,
    deals.account_id,
    case
      when as_was.status = 'open' or as_was.is_deleted then as_was.owner_key
      else first_value(as_was.owner_key) over (partition by as_was.deal_key, as_was.status, as_was.closed_on order by as_was.as_was_number)
    end as credit_owner_key
  from {{ ref('fct_deal_versions_as_was') }} as as_was
  inner join {{ ref('int_deals') }} as deals on as_was.deal_key = deals.deal_key
),

judged as (
  select
    told.*,
    case when told.is_deleted then 'removed' when {{ excluded_by() }} is not null then 'excluded' else told.status end as phase
  from told
  {{ exclusion_joins('told.pipeline_key', 'told.deal_type', 'told.credit_owner_key') }}
),

final as (
  select
    states.deal_key,
    states.valid_from_date as known_from,
    states.valid_to_date as known_to,
    states.phase,
    states.closed_on,
    states.amount_native,
    states.currency,
    states.close_date,
    states.owner,
    states.team,
    states.pipeline,
    states.region
  from {{ ref('fct_pipeline_states') }} as states
  left join late on states.deal_key = late.deal_key
  where late.deal_key is null
  union all
  select
    judged.deal_key,
    judged.as_was_from as known_from,
    coalesce(judged.as_was_to, date '9999-12-31') as known_to,
    judged.phase,
    case when judged.phase not in ('removed', 'excluded') then judged.closed_on end as closed_on,
    judged.amount_native,
    judged.currency,
    judged.close_date,
    owners.owner,
    owners.team,
    pipelines.pipeline,
    coalesce({{ region_of('context.segments_region_from', 'judged.deal_region', 'owners.region', 'accounts.region') }}, '(none)') as region
  from judged
  cross join {{ ref('stg_run_context') }} as context
  inner join {{ ref('dim_owner') }} as owners on judged.credit_owner_key = owners.owner_key
  inner join {{ ref('dim_pipeline') }} as pipelines on judged.pipeline_key = pipelines.pipeline_key
  left join {{ ref('dim_account') }} as accounts
    on judged.source_relation = accounts.source_relation
      and judged.account_id = accounts.account_id
)

select * from final
