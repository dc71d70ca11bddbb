{# A table whose rows of the touched deals are replaced. All of them are deleted, not only those that come again: a deal
   that has no rows any more leaves none behind. When every deal is to be built again, the table is built anew. #}
{% materialization by_touched_deal, adapter='duckdb' %}
  {%- set existing = load_cached_relation(this) -%}
  {%- set target = this.incorporate(type='table') -%}
  {%- set is_whole = run_query('select count(*) from ' ~ ref('int_ledger_rebuild')).rows[0][0] > 0 -%}

  {%- if is_whole -%}
    {% do return(materialization_table_duckdb()) %}
  {%- endif -%}
  {%- if existing is none or not existing.is_table or should_full_refresh() -%}
    {% do exceptions.raise_compiler_error(
      this.identifier ~ ' cannot be built whole by itself: the ledger is built whole together (dbt build --full-refresh).'
    ) %}
  {%- endif -%}

  {%- set key = config.get('deal_column', 'deal_sk') -%}
  {%- set columns = get_quoted_csv(adapter.get_columns_in_relation(target) | map(attribute='name')) -%}
  {{ run_hooks(pre_hooks, inside_transaction=False) }}
  {{ run_hooks(pre_hooks, inside_transaction=True) }}
  {% call statement('main') -%}
    {{ get_assert_columns_equivalent(compiled_code) }}
    delete from {{ target }} where {{ key }} in (select {{ key }} from {{ ref(config.get('touched_by', 'int_touched_deals')) }});
    insert into {{ target }} ({{ columns }})
    select {{ columns }} from (
      {{ compiled_code }}
    ) as replaced_rows;
  {%- endcall %}
  {{ run_hooks(post_hooks, inside_transaction=True) }}
  {{ adapter.commit() }}
  {{ run_hooks(post_hooks, inside_transaction=False) }}
  {{ return({'relations': [target]}) }}
{% endmaterialization %}

{# Plain Parquet cannot replace rows: the table is built anew each time. #}
{% materialization by_touched_deal, adapter='spark' %}
  {% do return(materialization_table_spark()) %}
{% endmaterialization %}
