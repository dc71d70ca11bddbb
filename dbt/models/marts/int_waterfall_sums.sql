-- The moves of all deals by slice: the sums that stayed, and those of the moves that this build has replaced.
with replaced as (
  select * from {{ ref('int_pipeline_moves') }}
  where {{ is_replaced('deal_key', ref('int_touched_states'), ref('int_touched_periods')) }}
),

{{ waterfall_sums('replaced') }},

parts as (
  select * from {{ ref('int_waterfall_kept') }}
  union all
  select
    mode,
    scope,
    period_type,
    period,
    segment_type,
    segment,
    {{ waterfall_measures() }}
  from sums
),

final as (
  {{ waterfall_totals('parts') }}
)

select * from final
