{# Tables by touched deal. A table that is materialized `by_touched_deal` reads the rows of the touched deals alone, and
   its rows of those are replaced; how they are found is told in int_ledger_inputs and in int_marts_inputs. #}

{# The rows of the touched deals: those of int_touched_deals (by deal_sk) or of int_touched_facts (by deal_key). #}
{% macro touched_rows(relation, touched, key='deal_sk') -%}
(
  select *
  from {{ relation }}
  where {{ key }} in (select {{ key }} from {{ touched }})
)
{%- endmacro %}

{# Where a row is replaced: its deal is touched, or the period that it belongs to is. Both lists are tables. #}
{% macro is_replaced(deal_column, deals, periods=none) -%}
{{ deal_column }} in (select {{ deal_column }} from {{ deals }})
{%- if periods is not none %}
or period in (select period from {{ periods }})
{%- endif %}
{%- endmacro %}

{# A table of this layer as the last build left it, read before this build replaces its rows; no rows where there is none
   or where it has other columns. #}
{% macro as_it_stands(name) -%}
{%- set columns = [] -%}
{%- if execute -%}
  {%- for node in graph.nodes.values() if node.resource_type == 'model' and node.name == name -%}
    {%- for column in node.columns.values() -%}{%- do columns.append(column) -%}{%- endfor -%}
  {%- endfor -%}
  {%- set relation = adapter.get_relation(this.database, this.schema, name) -%}
  {%- set found = adapter.get_columns_in_relation(relation) | map(attribute='name') | list if relation is not none else [] -%}
  {%- if found | sort == columns | map(attribute='name') | sort and not flags.FULL_REFRESH -%}
    {%- do return(relation) -%}
  {%- endif -%}
{%- endif -%}
(
  select
    {%- for column in columns %}
    cast(null as {{ column.data_type }}) as {{ column.name }}{{ "," if not loop.last }}
    {%- else %}
    null
    {%- endfor %}
  where false
)
{%- endmacro %}

{# The digests that the tables of the layer are known to be built from; no rows before the first whole build. #}
{% macro applied_inputs() -%}
{%- set applied = applied_relation() -%}
{%- if applied is not none -%}
select input, item, item_at, digest from {{ applied }}
{%- else -%}
select
  cast(null as {{ dbt.type_string() }}) as input,
  cast(null as {{ dbt.type_string() }}) as item,
  cast(null as {{ dbt.type_timestamp() }}) as item_at,
  cast(null as {{ dbt.type_string() }}) as digest
where false
{%- endif -%}
{%- endmacro %}

{# The items of one input that differ from the applied ones, or are gone; every one where there is a reason to rebuild. #}
{% macro touched_items(input, inputs, rebuild) -%}
select coalesce(told.item, applied.item) as item
from (select item, digest from {{ inputs }} where input = '{{ input }}') as told
full outer join (
  select item, digest
  from ({{ applied_inputs() }}) as all_applied
  where input = '{{ input }}'
) as applied on told.item = applied.item
where not coalesce(told.digest = applied.digest, false)
  or exists (select 1 from {{ rebuild }})
{%- endmacro %}

{% macro applied_relation() -%}
{%- if execute -%}
{%- do return(adapter.get_relation(this.database, this.schema, 'int_' ~ model.fqn[1] ~ '_applied')) -%}
{%- endif -%}
{%- do return(none) -%}
{%- endmacro %}

{# From here to the end of the build nothing is known of the deals of this model's table: a build that dies, and whatever
   lands before the next, leaves them to be found again. #}
{% macro forget_applied() -%}
{%- set rebuild = ref('int_ledger_rebuild') -%}
{%- set applied = applied_relation() -%}
{%- if applied is not none and can_replace_rows() -%}
delete from {{ applied }} where input = 'deal' and item in (select deal_key from {{ this }});
insert into {{ applied }} (input, item, item_at, digest) select 'deal', deal_key, null, null from {{ this }};
update {{ applied }} set digest = null where input <> 'deal' and exists (select 1 from {{ rebuild }});
{%- else -%}
select 1
{%- endif -%}
{%- endmacro %}

{# From here to the end of a whole build nothing is known of the layer: what has been replaced and what has been summed of
   it may be of two nights. #}
{% macro mark_as_under_way() -%}
{%- set applied = applied_relation() -%}
{%- if applied is not none and can_replace_rows() -%}
insert into {{ applied }} (input, item, item_at, digest) values ('build', '{{ this.identifier }}', null, null)
{%- else -%}
select 1
{%- endif -%}
{%- endmacro %}

{# Why all deals are to be built again, as far as data cannot tell it. #}
{% macro reasons_to_rebuild() -%}
{%- set reasons = [] -%}
{%- if execute -%}
  {%- if flags.FULL_REFRESH -%}{%- do reasons.append('asked for by --full-refresh') -%}{%- endif -%}
  {%- if not can_replace_rows() -%}{%- do reasons.append('the tables cannot replace rows') -%}{%- endif -%}
  {%- if applied_relation() is none -%}{%- do reasons.append('nothing has been built whole yet') -%}{%- endif -%}
  {%- for node in graph.nodes.values() if node.config.materialized == 'by_touched_deal' and node.schema == this.schema -%}
    {%- set table = adapter.get_relation(node.database, node.schema, node.alias) -%}
    {%- if table is none or not table.is_table -%}{%- do reasons.append(node.name ~ ' is missing') -%}{%- endif -%}
  {%- endfor -%}
{%- endif -%}
{%- do return(reasons) -%}
{%- endmacro %}

{# A digest of all that turns inputs into the layer: its models, the macros, dbt and the engine. #}
{% macro code_digest() -%}
{%- set parts = [dbt_version] -%}
{%- if execute -%}
  {%- for node in graph.nodes.values() if node.resource_type == 'model' and node.schema == this.schema -%}
    {%- do parts.append(node.name ~ ' ' ~ node.checksum.checksum) -%}
  {%- endfor -%}
  {%- for name, macro in context[project_name].items() -%}
    {%- do parts.append(name ~ ' ' ~ macro.macro.macro_sql) -%}
  {%- endfor -%}
{%- endif -%}
{{ local_md5(parts | sort | join('\n')) if execute }}
{%- endmacro %}

{# Names of a model's columns, as its contract lists them. #}
{% macro columns_of(name, besides=[]) -%}
{%- set columns = [] -%}
{%- if execute -%}
  {%- for node in graph.nodes.values() if node.resource_type == 'model' and node.name == name -%}
    {%- for column in node.columns if column not in besides -%}{%- do columns.append(column) -%}{%- endfor -%}
  {%- endfor -%}
{%- endif -%}
{%- do return(columns or ['null']) -%}
{%- endmacro %}

{# True when this invocation builds every model between the inputs of the layer and its tables. #}
{% macro builds_the_whole_layer() -%}
{%- set left_out = [] -%}
{%- if execute -%}
{%- for node in graph.nodes.values() if node.resource_type == 'model' and node.schema == this.schema -%}
  {%- if node.unique_id not in selected_resources -%}{%- do left_out.append(node.name) -%}{%- endif -%}
{%- endfor -%}
{%- endif -%}
{%- do return(left_out == []) -%}
{%- endmacro %}
