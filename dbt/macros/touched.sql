{# The ledger by touched deal. A table that is materialized `by_touched_deal` reads its inputs through touched_rows, and
   its rows of those deals are replaced; how the touched deals are found is told in int_ledger_inputs. #}

{# The rows of the touched deals: those of int_touched_deals (by deal_sk) or of int_touched_facts (by deal_key). #}
{% macro touched_rows(relation, touched, key='deal_sk') -%}
{#- the materialization asks it whether to replace rows or to build the table anew -#}
{%- do ref('int_ledger_rebuild') -%}
(
  select *
  from {{ relation }}
  where {{ key }} in (select {{ key }} from {{ touched }})
)
{%- endmacro %}

{# The digests that the tables of the ledger are known to be built from; no rows before the first whole build. #}
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

{% macro applied_relation() -%}
{%- if execute -%}
{%- do return(adapter.get_relation(this.database, this.schema, 'int_ledger_applied')) -%}
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

{# Why all deals are to be built again, as far as data cannot tell it. #}
{% macro reasons_to_rebuild() -%}
{%- set reasons = [] -%}
{%- if execute -%}
  {%- if flags.FULL_REFRESH -%}{%- do reasons.append('asked for by --full-refresh') -%}{%- endif -%}
  {%- if not can_replace_rows() -%}{%- do reasons.append('the tables cannot replace rows') -%}{%- endif -%}
  {%- if applied_relation() is none -%}{%- do reasons.append('nothing has been built whole yet') -%}{%- endif -%}
  {%- for node in graph.nodes.values() if node.config.materialized == 'by_touched_deal' -%}
    {%- set table = adapter.get_relation(node.database, node.schema, node.alias) -%}
    {%- if table is none or not table.is_table -%}{%- do reasons.append(node.name ~ ' is missing') -%}{%- endif -%}
  {%- endfor -%}
{%- endif -%}
{%- do return(reasons) -%}
{%- endmacro %}

{# A digest of all that turns inputs into the ledger: its models, the macros, dbt and the engine. #}
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

{# True when this invocation builds every model between the inputs of the ledger and its tables. #}
{% macro builds_the_whole_ledger() -%}
{%- set left_out = [] -%}
{%- if execute -%}
{%- for node in graph.nodes.values() if node.resource_type == 'model' and node.schema == this.schema -%}
  {%- if node.unique_id not in selected_resources -%}{%- do left_out.append(node.name) -%}{%- endif -%}
{%- endfor -%}
{%- endif -%}
{%- do return(left_out == []) -%}
{%- endmacro %}
