-- The newest delivery of each id; an id that is delivered no more keeps its last known row.
with delivered as (
  select
    source_relation,
    extracted_at,
    batch_id,
    {{ try_type('p.row', 'bigint') }} as delivery_order,
    p.account_id as account_id,
    p.name as account_name,
    p.industry as industry,
    p.region as region,
    p.country as country
  from ({{ landed('accounts', ['account_id', 'name', 'industry', 'region', 'country', 'row']) }}) as rows_landed
  {{ union_vendors('accounts', ['source_relation', 'extracted_at', 'batch_id', 'delivery_order', 'account_id', 'account_name', 'industry', 'region', 'country']) }}
),

ranked as (
  select
    *,
    row_number() over (
      partition by source_relation, account_id
      order by extracted_at desc, batch_id desc, delivery_order desc
    ) as newest_first
  from delivered
  where account_id is not null
),

final as (
  select
    source_relation,
    account_id,
    account_name,
    industry,
    region,
    country
  from ranked
  where newest_first = 1
)

select * from final
