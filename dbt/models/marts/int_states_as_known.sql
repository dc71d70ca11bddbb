{{ config(materialized='view') }}
-- States by the evenings on which they were known: the deals without late changes as they stand, the others as they were told.
with late as (
  select deal_key
  from {{ ref('fct_deal_versions') }}
  where has_late_changes
  group by deal_key
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
    states.close_date
  from {{ ref('fct_pipeline_states') }} as states
  left join late on states.deal_key = late.deal_key
  where late.deal_key is null
  union all
  select
    deal_key,
    as_was_from as known_from,
    coalesce(as_was_to, date '9999-12-31') as known_to,
    case when is_deleted then 'removed' when excluded_by is not null then 'excluded' else status end as phase,
    case when not is_deleted and excluded_by is null then closed_on end as closed_on,
    amount_native,
    currency,
    close_date
  from {{ ref('fct_deal_versions_as_was') }}
)

select * from final
