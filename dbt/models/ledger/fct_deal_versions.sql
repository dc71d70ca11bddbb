{{ config(materialized='by_touched_deal', touched_by='int_touched_facts', deal_column='deal_key') }}
with states as (
  select * from {{ touched_rows(ref('int_deal_states'), ref('int_touched_facts')) }} as touched_states
),

-- the record and a removal can be late, too: known only after the night they belonged to
late as (
  select
    deal_sk,
    max(case when known_on > business_date then 1 else 0 end) = 1 as has_late_changes
  from states
  group by deal_sk
),

deals as (
  select
    deals.deal_sk,
    deals.deal_key,
    deals.source_relation,
    deals.deal_id,
    deals.merged_into_deal_id,
    coalesce(history.has_late_changes, false) or coalesce(late.has_late_changes, false) as has_late_changes
  from {{ ref('int_deals') }} as deals
  left join {{ ref('int_deal_history') }} as history on deals.deal_sk = history.deal_sk
  left join late on deals.deal_sk = late.deal_sk
),

spans as (
  select
    *,
    row_number() over deal_line as version_number,
    lead(placed_at) over deal_line as valid_to_at,
    lead(business_date) over deal_line as valid_to_date
  from states
  window deal_line as (partition by deal_sk order by line_number)
),

final as (
  select
    deals.deal_key,
    deals.source_relation,
    deals.deal_id,
    cast(spans.version_number as int) as version_number,
    spans.placed_at as valid_from_at,
    spans.valid_to_at,
    spans.business_date as valid_from_date,
    spans.valid_to_date,
    spans.known_on,
    spans.pipeline_id,
    spans.stage_id,
    {{ hash_key(['deals.source_relation', 'spans.pipeline_id']) }} as pipeline_key,
    {{ hash_key(['deals.source_relation', 'spans.pipeline_id', 'spans.stage_id']) }} as stage_key,
    case
      when spans.owner_id is null then {{ none_key() }}
      else {{ hash_key(['deals.source_relation', 'spans.owner_id']) }}
    end as owner_key,
    spans.owner_id,
    spans.status,
    spans.amount_native,
    spans.currency,
    cast(spans.amount_native * fx_rates.rate as decimal(20, 3)) as amount_base,
    spans.close_date,
    spans.forecast_category,
    spans.probability,
    spans.removed_reason is not null as is_deleted,
    spans.removed_reason as deleted_reason,
    case when spans.removed_reason = 'merged' then deals.merged_into_deal_id end as merged_into_deal_id,
    deals.has_late_changes,
    case when spans.is_initial_load then 'reconstructed' else 'history' end as asof_quality,
    spans.amount_asof_quality,
    spans.close_date_asof_quality,
    spans.push_count_so_far
  from spans
  inner join deals on spans.deal_sk = deals.deal_sk
  left join {{ ref('int_fx_rates') }} as fx_rates
    on spans.currency = fx_rates.currency
      and spans.business_date >= fx_rates.valid_from_date
      and spans.business_date < fx_rates.valid_to_date
)

select * from final
