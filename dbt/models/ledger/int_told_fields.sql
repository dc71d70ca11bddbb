-- A source that tells a field's history tells it for deals that never had a value, too.
with told as (
  select source_relation, amount_native, close_date
  from {{ ref('stg_deal_events') }}
  union all
  select source_relation, amount_native, close_date
  from {{ ref('int_snapshot_events') }}
),

final as (
  select
    source_relation,
    count(amount_native) > 0 as is_amount_told,
    count(close_date) > 0 as is_close_date_told
  from told
  group by source_relation
)

select * from final
