-- The inputs that the ledger's tables are known to be built from. Written last: depends_on names the tables themselves.
-- depends_on: {{ ref('fct_deal_versions') }}
-- depends_on: {{ ref('fct_deal_versions_as_was') }}
-- depends_on: {{ ref('int_stage_visits') }}
with final as (
  {%- if builds_the_whole_layer() %}
  select input, item, item_at, digest
  from {{ ref('int_ledger_inputs') }}
  union all
  select input, item, item_at, digest
  from {{ ref('int_fact_inputs') }}
  {%- else %}
  -- some models were left out, so nothing new is known of the tables
  select input, item, item_at, digest
  from ({{ applied_inputs() }})
  {%- endif %}
)

select * from final
