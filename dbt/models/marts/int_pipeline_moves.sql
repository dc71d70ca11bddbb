{{ config(
  materialized='by_touched_deal', deal_column='deal_key', touched_by='int_touched_states', touched_periods='int_touched_periods',
  pre_hook='{{ mark_as_under_way() }}'
) }}
-- What each window means for the waterfall: the rules are in macros/waterfall.sql.
-- depends_on: {{ ref('int_waterfall_kept') }}
with replaced as (
  select * from {{ ref('int_pipeline_windows') }}
  where {{ is_replaced('deal_key', ref('int_touched_states'), ref('int_touched_periods')) }}
),

{{ waterfall_moves('replaced') }}

select * from waterfall_moves
