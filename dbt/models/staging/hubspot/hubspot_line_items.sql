-- Only the newest version of a line counts, and none when that says the line is gone.
{%- set shape = {
  'properties': {'hs_product_id': '', 'quantity': '', 'price': '', 'amount': '', 'hs_line_item_currency_code': ''},
  'associations': {'deals': {'results': [{'id': ''}]}}
} %}
with landed_rows as (
  select
    source_relation,
    record_id,
    extracted_at,
    batch_id,
    is_deleted,
    {{ json_shape('payload', shape) }} as p,
    row_number() over (
      partition by source_relation, record_id
      order by extracted_at desc, batch_id desc, modified_at desc nulls last
    ) as newest_first
  from {{ source('landing_hubspot', 'line_items') }}
),

told as (
  select * from landed_rows
  where newest_first = 1 and not is_deleted
),

deals_told as (
  {{ each_item('told', ['source_relation', 'record_id'], 'p.associations.deals.results') }}
),

deals as (
  select
    source_relation,
    record_id,
    {{ first_value_by('item.id', ['item_number'], 'item.id is not null') }} as deal_id
  from deals_told
  group by source_relation, record_id
),

final as (
  select
    told.source_relation,
    told.extracted_at,
    told.batch_id,
    cast(null as bigint) as delivery_order,
    told.record_id as line_item_id,
    deals.deal_id,
    told.p.properties.hs_product_id as product_id,
    {{ try_type('told.p.properties.quantity', 'decimal(20, 3)') }} as quantity,
    {{ try_type('told.p.properties.price', 'decimal(20, 3)') }} as unit_price,
    {{ try_type('told.p.properties.amount', 'decimal(20, 3)') }} as amount_native,
    upper(told.p.properties.hs_line_item_currency_code) as currency
  from told
  inner join deals
    on told.source_relation = deals.source_relation
      and told.record_id = deals.record_id
)

select * from final
