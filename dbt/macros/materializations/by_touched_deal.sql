{# A table whose rows of the touched deals are replaced, and with `touched_periods` those of the touched periods. All of
   them are deleted, not only those that come again: a deal that has no rows any more leaves none behind. When every deal
   is to be built again, the table is built anew. #}
{% materialization by_touched_deal, adapter='duckdb' %}
  {%- set existing = load_cached_relation(this) -%}
  {%- set target = this.incorporate(type='table') -%}
  {%- set rebuild = api.Relation.create(this.database, this.schema, 'int_' ~ model.fqn[1] ~ '_rebuild') -%}
  {%- set is_whole = run_query('select count(*) from ' ~ rebuild).rows[0][0] > 0 -%}

  {%- if is_whole -%}
    {% do return(materialization_table_duckdb()) %}
  {%- endif -%}
  {%- if existing is none or not existing.is_table or should_full_refresh() -%}
    {% do exceptions.raise_compiler_error(
      this.identifier ~ ' cannot be built whole by itself: its layer is built whole together (dbt build --full-refresh).'
    ) %}
  {%- endif -%}

  {%- set touched_periods = config.get('touched_periods') -%}
  {%- set replaced = is_replaced(
    config.get('deal_column', 'deal_sk'), ref(config.get('touched_by', 'int_touched_deals')),
    ref(touched_periods) if touched_periods else none
  ) -%}
  {%- set columns = get_quoted_csv(adapter.get_columns_in_relation(target) | map(attribute='name')) -%}
  {{ run_hooks(pre_hooks, inside_transaction=False) }}
  {{ run_hooks(pre_hooks, inside_transaction=True) }}
  {% call statement('main') -%}
    {{ get_assert_columns_equivalent(compiled_code) }}
    delete from {{ target }} where {{ replaced }};
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
