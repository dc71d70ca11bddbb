{{ config(materialized='by_touched_deal') }}
-- What a deal's own history tells: where it starts, where it ends, and which fields it covers.
{%- set place = ['placed_at', 'recorded_at', 'place_in_instant'] %}
with instants as (
  select * from {{ touched_rows(ref('int_deal_instants'), ref('int_touched_deals')) }} as touched_instants
),

final as (
  select
    deal_sk,
    count(stage_id) as stage_rows,
    max(placed_at) as last_placed_at,
    -- what only snapshots tell is no newer than the record, which is of the newest of them
    max(case when change_source <> 'snapshot' then placed_at end) as last_told_at,
    max(case when change_source <> 'snapshot' then first_extracted_at end) as last_extracted_at,
    {{ first_value_by('placed_at', place, 'stage_id is not null') }} as first_placed_at,
    {{ first_value_by('recorded_at', place, 'stage_id is not null') }} as first_recorded_at,
    {{ first_value_by('place_in_instant', place, 'stage_id is not null') }} as first_place_in_instant,
    {{ first_value_by('pipeline_id', place, 'stage_id is not null') }} as first_pipeline_id,
    {{ first_value_by('stage_id', place, 'stage_id is not null') }} as first_stage_id,
    {{ first_value_by("coalesce(from_pipeline_id, '')", place, 'stage_id is not null') }} as first_from_pipeline_id,
    {{ first_value_by("coalesce(from_stage_id, '')", place, 'stage_id is not null') }} as first_from_stage_id,
    {{ first_value_by('time_precision', place, 'stage_id is not null') }} as first_time_precision,
    {{ last_value_by('placed_at', place, 'stage_id is not null') }} as last_stage_placed_at,
    {{ last_value_by('stage_id', place, 'stage_id is not null') }} as last_stage_id,
    {{ last_value_by('pipeline_id', place, 'stage_id is not null') }} as last_pipeline_id,
    {{ last_value_by('status', place, 'status is not null') }} as last_status,
    count(amount_native) > 0 as has_amount,
    count(currency) > 0 as has_currency,
    count(close_date) > 0 as has_close_date,
    count(owner_id) > 0 as has_owner,
    count(forecast_category) > 0 as has_forecast_category,
    count(probability) > 0 as has_probability,
    max(case when is_late then 1 else 0 end) = 1 as has_late_changes,
    min(first_extracted_at) as first_extracted_at,
    {{ first_value_by("case when is_late then known_on else date '1900-01-01' end", place, 'stage_id is not null') }} as first_known_on,
    {{ first_value_by('is_initial_load', place, 'stage_id is not null') }} as is_first_of_initial_load
  from instants
  group by deal_sk
)

select * from final
