{# How the moves of the waterfall are summed, and such sums put together. #}

{# Ways into the pipeline, and out of it. #}
{% macro waterfall_entries() -%}
created, reopened, restored, transferred_in, pulled_in, pushed_in
{%- endmacro %}

{% macro waterfall_exits() -%}
won, lost, closed_other, deleted_or_merged, transferred_out, pushed_out, pulled_out, closed_outside_scope
{%- endmacro %}

{# sums: the moves by mode, scope, period and slice, with deals and amounts of each bucket through which they come and go.
   They are summed once as finely as any segment needs them, and those sums by segment (measured at 19,000 deals: 2.0 CPU-s
   instead of 2.5). #}
{% macro waterfall_sums(moves) -%}
{%- set flags_and_labels = [
  'in_total', 'in_owner', 'in_team', 'in_pipeline', 'in_region', 'owner', 'team', 'pipeline', 'region'
] %}
finest_sums as (
  select
    mode,
    scope,
    period_type,
    period,
    {{ flags_and_labels | join(',\n    ') }},
    sum(start_amount) as start_amount,
    sum(end_amount) as end_amount,
    count(case when is_in_start then 1 end) as deals_start,
    count(case when is_in_end then 1 end) as deals_end,
    count(case when is_end_amount_missing then 1 end) as deals_end_without_amount,
    count(case when is_end_rate_missing then 1 end) as deals_end_without_rate,
    count(case when is_priced then 1 end) as rows_priced,
    count(*) as rows_summed,
    {%- for bucket in waterfall_entries().split(', ') %}
    sum(case when entry_bucket = '{{ bucket }}' then entry_amount else 0 end) as {{ bucket }}_amount,
    count(case when entry_bucket = '{{ bucket }}' then 1 end) as deals_{{ bucket }},
    {%- endfor %}
    {%- for bucket in waterfall_exits().split(', ') %}
    sum(case when exit_bucket = '{{ bucket }}' then exit_amount else 0 end) as {{ bucket }}_amount,
    count(case when exit_bucket = '{{ bucket }}' then 1 end) as deals_{{ bucket }},
    {%- endfor %}
    sum(case when change_amount > 0 then change_amount else 0 end) as increased_amount,
    count(case when change_amount > 0 then 1 end) as deals_increased,
    sum(case when change_amount < 0 then change_amount else 0 end) as decreased_amount,
    count(case when change_amount < 0 then 1 end) as deals_decreased,
    sum(fx_amount) as fx_amount,
    count(case when fx_amount <> 0 then 1 end) as deals_fx
  from {{ moves }}
  group by
    mode,
    scope,
    period_type,
    period,
    {{ flags_and_labels | join(',\n    ') }}
),

sums as (
  {%- for segment_type, segment in [
    ('total', "'all'"), ('owner', 'owner'), ('team', 'team'), ('pipeline', 'pipeline'), ('region', 'region')
  ] %}
  select
    mode,
    scope,
    period_type,
    period,
    '{{ segment_type }}' as segment_type,
    {{ segment }} as segment
    {%- for measure in waterfall_measures().split(', ') %},
    sum({{ measure }}) as {{ measure }}
    {%- endfor %}
  from finest_sums
  where in_{{ segment_type }}
  group by mode, scope, period_type, period{{ ", " ~ segment if segment_type != 'total' }}
  {%- if not loop.last %}
  union all
  {%- endif %}
  {%- endfor %}
)
{%- endmacro %}

{# What waterfall_sums sums. All of it is exact and additive: counts, and amounts of fixed digits. #}
{% macro waterfall_measures() -%}
deals_end_without_amount, deals_end_without_rate, rows_priced, rows_summed
{%- for bucket in ['start', 'end', 'increased', 'decreased', 'fx'] + waterfall_entries().split(', ') + waterfall_exits().split(', ') -%}
, {{ bucket }}_amount, deals_{{ bucket }}
{%- endfor %}
{%- endmacro %}

{# Parts of such sums, put together; a slice of which no row is left is gone. #}
{% macro waterfall_totals(parts) -%}
select
  mode,
  scope,
  period_type,
  period,
  segment_type,
  segment
  {%- for measure in waterfall_measures().split(', ') %},
  cast(sum({{ measure }}) as {{ 'bigint' if measure.startswith('deals_') or measure.startswith('rows_') else 'decimal(38, 3)' }}) as {{ measure }}
  {%- endfor %}
from {{ parts }}
group by mode, scope, period_type, period, segment_type, segment
having sum(rows_summed) > 0
{%- endmacro %}
