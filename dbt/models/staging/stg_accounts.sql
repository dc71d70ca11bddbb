-- The newest delivery of each id; an id that is delivered no more keeps its last known row.
with rows_landed as (
  {{ landed('accounts', ['account_id', 'name', 'industry', 'region', 'country', 'row']) }}
),

ranked as (
  select
    *,
    row_number() over (
      partition by source_relation, p.account_id
      order by extracted_at desc, batch_id desc, {{ try_type('p.row', 'bigint') }} desc
    ) as newest_first
  from rows_landed
  where p.account_id is not null
),

final as (
  select
    rows_landed.source_relation,
    rows_landed.p.account_id as account_id,
    rows_landed.p.name as account_name,
    rows_landed.p.industry as industry,
    rows_landed.p.region as region,
    rows_landed.p.country as country
  from ranked as rows_landed
  where rows_landed.newest_first = 1
)

select * from final
