-- What the tables of the ledger are built from, as digests: the door through which everything comes in. A deal is touched
-- when its digest differs from the one that was applied, whatever the reason, so no kind of delivery can be forgotten:
--   its record (int_deals): new batches, a newer delivery, re-delivered files, merges with both sides of their chain,
--     tombstones and sweeps, new members or aliases in int_lookup, runs that date knowledge, the pipeline of its stage;
--   its change rows (int_deal_events): the same, and clamping at the creation, and differences between snapshots;
--   its absences (int_deal_absences): snapshots that no longer show it, also one that arrives late.
-- What is common to all deals: settings, stages with their ranks and outcomes, which fields a source tells, and the code.
-- When one of these changes, every deal is built again. Dearer inputs of single columns stand in int_fact_inputs.
with deals as (
  select
    deal_sk,
    deal_key,
    source_relation,
    deal_id,
    last_extracted_at,
    -- the ledger does not read seen_on, and of last_extracted_at only whether change rows are newer
    {{ row_hash(columns_of('int_deals', besides=['seen_on', 'last_extracted_at'])) }} as record_hash
  from {{ ref('int_deals') }}
),

change_rows as (
  select
    deal_sk,
    first_extracted_at,
    {{ row_hash(columns_of('int_deal_events')) }} as change_hash
  from {{ ref('int_deal_events') }}
),

changes as (
  select
    change_rows.deal_sk,
    {{ bag_digest('change_rows.change_hash') }} as digest,
    sum(case when change_rows.first_extracted_at > deals.last_extracted_at then 1 else 0 end) as newer_than_record
  from change_rows
  inner join deals on change_rows.deal_sk = deals.deal_sk
  group by change_rows.deal_sk
),

absence_rows as (
  select
    absences.source_relation,
    absences.deal_id,
    {{ row_hash([
      'absences.removed_on', 'absences.returned_on', 'absences.is_removal_of_initial_load',
      'absences.is_return_of_initial_load', 'removal_known.known_on', 'return_known.known_on'
    ]) }} as absence_hash
  from {{ ref('int_deal_absences') }} as absences
  left join {{ ref('int_known_on') }} as removal_known on absences.removal_extracted_at = removal_known.first_extracted_at
  left join {{ ref('int_known_on') }} as return_known on absences.return_extracted_at = return_known.first_extracted_at
),

absences as (
  select
    source_relation,
    deal_id,
    {{ bag_digest('absence_hash') }} as digest
  from absence_rows
  group by source_relation, deal_id
),

final as (
  select
    'deal' as input,
    deals.deal_key as item,
    cast(null as {{ dbt.type_timestamp() }}) as item_at,
    concat(
      deals.record_hash, '|', coalesce(changes.digest, ''), '|', coalesce(changes.newer_than_record, 0), '|',
      coalesce(absences.digest, '')
    ) as digest
  from deals
  left join changes on deals.deal_sk = changes.deal_sk
  left join absences
    on deals.source_relation = absences.source_relation
      and deals.deal_id = absences.deal_id
  union all
  select
    'told fields' as input,
    source_relation as item,
    null as item_at,
    concat(is_amount_told, ' ', is_close_date_told) as digest
  from {{ ref('int_told_fields') }}
  union all
  select
    'stages' as input,
    'all' as item,
    null as item_at,
    {{ bag_digest('stage_hash') }} as digest
  from (
    select {{ row_hash(columns_of('int_stage_ranks')) }} as stage_hash
    from {{ ref('int_stage_ranks') }}
  ) as stages
  union all
  -- all but what tells one run from the next
  select
    'settings' as input,
    'all' as item,
    null as item_at,
    {{ bag_digest('settings_hash') }} as digest
  from (
    select
      {{ row_hash(columns_of('stg_run_context', besides=[
        'run_id', 'run_order', 'run_kind', 'as_of', 'landed_through', 'recorded_at', 'data_as_of_warning'
      ])) }} as settings_hash
    from {{ ref('stg_run_context') }}
  ) as settings
  union all
  select
    'code' as input,
    'all' as item,
    null as item_at,
    concat('{{ code_digest() }}', ' ', version()) as digest
)

select * from final
