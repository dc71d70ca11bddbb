-- noqa: disable=TMP
-- Questions about any day, as table macros of the published file: their text is rendered here from the same rules as the
-- marts, and the publisher creates them. They read published tables only, in the SQL of DuckDB.
-- depends_on: {{ ref('fct_pipeline_states') }}, {{ ref('dim_deal') }}, {{ ref('dim_stage') }}, {{ ref('dim_fx_rate') }}
{%- set amounts = waterfall_entries().split(', ') + ['increased', 'decreased', 'fx'] + waterfall_exits().split(', ') %}
{%- set pipeline_as_of %}
select
  states.deal_key,
  states.source_relation,
  deals.deal_id,
  deals.deal_name,
  states.pipeline,
  states.stage_key,
  stages.stage,
  stages.stage_order,
  states.owner_key,
  states.owner,
  states.team,
  states.region,
  states.close_date,
  states.amount_native,
  states.currency,
  cast(states.amount_native * rates.rate as decimal(20, 3)) as open_amount
from fct_pipeline_states as states
inner join dim_deal as deals on states.deal_key = deals.deal_key
left join dim_stage as stages on states.stage_key = stages.stage_key
left join dim_fx_rate as rates
  on states.currency = rates.currency
    and cast(as_of_day as date) >= rates.valid_from_date
    and cast(as_of_day as date) < rates.valid_to_date
where states.phase = 'open'
  and states.valid_from_date <= cast(as_of_day as date)
  and states.valid_to_date > cast(as_of_day as date)
  and cast(as_of_day as date) <= (select max(as_of) from _publish)
{%- endset %}
{%- set pipeline_changes %}
with periods as (
  select
    'any' as period_type,
    'any' as period,
    cast(first_day as date) as period_start,
    cast(last_day as date) as period_end,
    cast(first_day as date) - 1 as from_day,
    least(cast(last_day as date), published.as_of) as through_day
  from (select max(as_of) as as_of from _publish) as published
),

{{ net_windows('periods', 'fct_pipeline_states') }},

{{ priced_windows('net_windows', 'fct_pipeline_states', 'dim_fx_rate') }},

{{ waterfall_moves('priced') }},

{{ waterfall_sums('waterfall_moves') }}

select
  scope,
  segment_type,
  segment,
  {%- for bucket in ['start'] + amounts + ['end'] %}
  case when rows_priced > 0 then cast({{ bucket }}_amount as decimal(38, 3)) end as {{ bucket }}_amount,
  {%- endfor %}
  {%- for bucket in ['start'] + amounts + ['end'] %}
  deals_{{ bucket }},
  {%- endfor %}
  deals_end_without_amount,
  deals_end_without_rate
from sums
{%- endset %}
{%- set table_macros = [
  ('pipeline_as_of', 'as_of_day', pipeline_as_of, "date '2000-01-01'"),
  ('pipeline_changes', 'first_day, last_day', pipeline_changes, "date '2000-01-01', date '2000-03-31'"),
] %}
with final as (
  {%- for name, parameters, body, sample in table_macros %}
  select
    '{{ name }}' as macro_name,
    '{{ parameters }}' as parameters,
    '{{ body | replace("'", "''") }}' as body,
    '{{ sample | replace("'", "''") }}' as sample_arguments
  {%- if not loop.last %}
  union all
  {%- endif %}
  {%- endfor %}
)

select * from final
