with rows_landed as (
  {{ landed_newest('deal_splits', ['split_id', 'deal_id', 'owner', 'share', 'amount', 'split_type']) }}
),

final as (
  select distinct
    rows_landed.source_relation,
    coalesce(rows_landed.p.split_id, rows_landed.record_id) as split_id,
    rows_landed.p.deal_id as deal_id,
    rows_landed.p.owner as owner_id,
    {{ try_type('rows_landed.p.share', 'decimal(12, 8)') }} as share,
    {{ try_type('rows_landed.p.amount', 'decimal(20, 3)') }} as amount_native,
    case when lower(rows_landed.p.split_type) like '%overlay%' then 'overlay' else 'revenue' end as split_type
  from rows_landed
  {{ union_vendors('deal_splits', ['source_relation', 'split_id', 'deal_id', 'owner_id', 'share', 'amount_native', 'split_type'], ['hubspot', 'salesforce']) }}
)

select * from final
