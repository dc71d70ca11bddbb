-- The sums of the waterfall without the moves that this build replaces. Sums are exact, so what is taken out and put in
-- again leaves no trace; read before int_pipeline_moves is replaced.
{%- set cell = ['mode', 'scope', 'period_type', 'period', 'segment_type', 'segment'] %}
with sums_so_far as (
  select * from {{ as_it_stands('int_waterfall_sums') }}
  where not exists (select 1 from {{ ref('int_marts_rebuild') }})
),

replaced as (
  select * from {{ as_it_stands('int_pipeline_moves') }}
  where not exists (select 1 from {{ ref('int_marts_rebuild') }})
    and ({{ is_replaced('deal_key', ref('int_touched_states'), ref('int_touched_periods')) }})
),

{{ waterfall_sums('replaced') }},

signed as (
  select
    {{ cell | join(', ') }},
    {{ waterfall_measures() }}
  from sums_so_far
  union all
  select
    {{ cell | join(', ') }}
    {%- for measure in waterfall_measures().split(', ') %},
    -{{ measure }} as {{ measure }}
    {%- endfor %}
  from sums
),

final as (
  {{ waterfall_totals('signed') }}
)

select * from final
