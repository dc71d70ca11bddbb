-- The inputs that the replaced marts are known to be built from. Written last: depends_on names them.
-- depends_on: {{ ref('fct_pipeline_movements') }}
-- depends_on: {{ ref('int_waterfall_sums') }}
with final as (
  {%- if builds_the_whole_layer() %}
  select input, item, item_at, digest
  from {{ ref('int_marts_inputs') }}
  {%- else %}
  -- some models were left out, so nothing new is known of the tables
  select input, item, item_at, digest
  from ({{ applied_inputs() }})
  {%- endif %}
)

select * from final
