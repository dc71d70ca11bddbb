{%- set told = [
  'source_relation', 'lead_id', 'deal_id', 'lead_name', 'stage', 'told_status', 'created_at', 'converted_at', 'modified_at',
  'owner_id', 'lead_source', 'is_deleted', 'extracted_at', 'batch_id', 'delivery_order'
] -%}
-- Leads as the newest delivery of each tells them. One that became several deals has a line for each.
with delivered as (
  select
    source_relation,
    p.lead_id as lead_id,
    p.deal_id as deal_id,
    p.name as lead_name,
    p.stage as stage,
    p.status as told_status,
    {{ try_type('p.created_at', 'timestamp') }} as created_at,
    {{ try_type('p.converted_at', 'timestamp') }} as converted_at,
    coalesce({{ try_type('p.modified_at', 'timestamp') }}, modified_at) as modified_at,
    p.owner as owner_id,
    p.source as lead_source,
    is_deleted or p.deleted_at is not null as is_deleted,
    extracted_at,
    batch_id,
    {{ try_type('p.row', 'bigint') }} as delivery_order
  from ({{ landed('leads', [
    'lead_id', 'deal_id', 'name', 'stage', 'status', 'created_at', 'converted_at', 'modified_at', 'owner', 'source',
    'deleted_at', 'row'
  ]) }}) as rows_landed
  {{ union_vendors('leads', told, ['salesforce']) }}
),

words as (
  {{ lead_words() }}
),

ranked as (
  select
    *,
    max(extracted_at) over (partition by source_relation, lead_id) as newest_extracted_at,
    row_number() over (
      partition by source_relation, lead_id, coalesce(deal_id, '')
      order by extracted_at desc, modified_at desc nulls last, batch_id desc, delivery_order desc nulls last
    ) as newest_of_deal_first,
    row_number() over (
      partition by source_relation, lead_id
      order by
        extracted_at desc, modified_at desc nulls last, batch_id desc, delivery_order desc nulls last, deal_id desc nulls last
    ) as newest_first
  from delivered
  where lead_id is not null
),

final as (
  select
    ranked.source_relation,
    ranked.lead_id,
    ranked.deal_id,
    ranked.lead_name,
    ranked.stage,
    coalesce(
      status_words.outcome, {{ lead_outcome('ranked.told_status') }}, stage_words.outcome, {{ lead_outcome('ranked.stage') }}, 'open'
    ) as outcome,
    ranked.created_at,
    ranked.converted_at,
    ranked.modified_at,
    ranked.owner_id,
    ranked.lead_source,
    ranked.is_deleted,
    ranked.extracted_at,
    ranked.newest_first = 1 as is_newest
  from ranked
  left join words as status_words on lower(trim(ranked.told_status)) = status_words.word
  left join words as stage_words on lower(trim(ranked.stage)) = stage_words.word
  where ranked.newest_of_deal_first = 1
    and ranked.extracted_at = ranked.newest_extracted_at
)

select * from final
