-- The newest reading of each deal counts: a split that was taken back is in it no more.
{%- set shape = {'splits': [{
  'id': '', 'archived': '', 'properties': {'hs_deal_split_percentage': '', 'hubspot_owner_id': ''}
}]} %}
with read_deals as (
  select
    source_relation,
    record_id as deal_id,
    {{ json_shape('payload', shape) }} as p,
    row_number() over (
      partition by source_relation, record_id
      order by extracted_at desc, batch_id desc
    ) as newest_first
  from {{ source('landing_hubspot', 'deal_splits') }}
),

newest as (
  select * from read_deals
  where newest_first = 1
),

splits as (
  {{ each_item('newest', ['source_relation', 'deal_id'], 'p.splits') }}
),

final as (
  select
    source_relation,
    item.id as split_id,
    deal_id,
    item.properties.hubspot_owner_id as owner_id,
    {{ try_type('item.properties.hs_deal_split_percentage', 'decimal(12, 8)') }} as share,
    cast(null as decimal(20, 3)) as amount_native,
    'revenue' as split_type
  from splits
  where coalesce(item.archived, 'false') <> 'true'
)

select * from final
