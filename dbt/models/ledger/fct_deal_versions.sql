{{ config(materialized='by_touched_deal', touched_by='int_touched_facts', deal_column='deal_key') }}
with states as (
  select * from {{ touched_rows(ref('int_deal_states'), ref('int_touched_facts')) }} as touched_states
),

-- the record and a removal can be late, too: known only after the night they belonged to
late as (
  select
    deal_sk,
    max(case when values_known_on > business_date then 1 else 0 end) = 1 as has_late_changes
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
    deals.deal_type,
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
    lead(business_date) over deal_line as valid_to_date,
    -- an outcome that is corrected is a closing anew
    status <> 'open' and coalesce(lag(status) over deal_line, 'open') <> status as is_closing
  from states
  window deal_line as (partition by deal_sk order by line_number)
),

keyed as (
  select
    spans.*,
    deals.deal_key,
    deals.source_relation,
    deals.deal_id,
    deals.merged_into_deal_id,
    deals.deal_type,
    deals.has_late_changes,
    {{ hash_key(['deals.source_relation', 'spans.pipeline_id']) }} as pipeline_key,
    case
      when spans.owner_id is null then {{ none_key() }}
      else {{ hash_key(['deals.source_relation', 'spans.owner_id']) }}
    end as owner_key
  from spans
  inner join deals on spans.deal_sk = deals.deal_sk
),

-- a closed deal belongs to the owner who closed it, whoever inherits the account
credited as (
  select
    *,
    case
      when status = 'open' or removed_reason is not null then owner_key
      else {{ carried('case when is_closing then owner_key end', 'deal_so_far') }}
    end as credit_owner_key
  from keyed
  window deal_so_far as (
    partition by deal_sk
    order by line_number
    rows between unbounded preceding and current row
  )
),

final as (
  select
    credited.deal_key,
    credited.source_relation,
    credited.deal_id,
    cast(credited.version_number as int) as version_number,
    credited.placed_at as valid_from_at,
    credited.valid_to_at,
    credited.business_date as valid_from_date,
    credited.valid_to_date,
    credited.values_known_on as known_on,
    credited.pipeline_id,
    credited.stage_id,
    credited.pipeline_key,
    {{ hash_key(['credited.source_relation', 'credited.pipeline_id', 'credited.stage_id']) }} as stage_key,
    credited.owner_key,
    credited.owner_id,
    credited.status,
    credited.amount_native,
    credited.currency,
    cast(credited.amount_native * fx_rates.rate as decimal(20, 3)) as amount_base,
    credited.close_date,
    credited.forecast_category,
    credited.probability,
    credited.removed_reason is not null as is_deleted,
    credited.removed_reason as deleted_reason,
    case when credited.removed_reason = 'merged' then credited.merged_into_deal_id end as merged_into_deal_id,
    credited.has_late_changes,
    case when credited.is_initial_load then 'reconstructed' else 'history' end as asof_quality,
    credited.amount_asof_quality,
    credited.close_date_asof_quality,
    credited.push_count_so_far,
    credited.credit_owner_key,
    {{ excluded_by() }} as excluded_by
  from credited
  left join {{ ref('int_fx_rates') }} as fx_rates
    on credited.currency = fx_rates.currency
      and credited.business_date >= fx_rates.valid_from_date
      and credited.business_date < fx_rates.valid_to_date
  {{ exclusion_joins('credited.pipeline_key', 'credited.deal_type', 'credited.credit_owner_key') }}
)

select * from final
