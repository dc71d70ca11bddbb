-- known_on = the day after the last nightly run that did not have the batch yet: what a reader could have known when.
with batches as (
  select first_extracted_at from {{ ref('stg_deal_events') }}
  union
  select first_extracted_at from {{ ref('stg_deals') }}
  union
  select extracted_at as first_extracted_at from {{ ref('stg_snapshots') }}
),

nightly as (
  select
    as_of,
    landed_through
  from {{ ref('stg_runs') }}
  where run_kind = 'nightly'
),

final as (
  select
    batches.first_extracted_at,
    {{ add_days('max(nightly.as_of)', 1) }} as known_on
  from batches
  left join nightly on batches.first_extracted_at > nightly.landed_through
  group by batches.first_extracted_at
)

select * from final
