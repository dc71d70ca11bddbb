{# Where engines differ about values: hashes, JSON, carried values, quantiles. #}

{# md5 of the parts joined by |; a null part becomes an empty one, never a dropped one. #}
{% macro hash_key(parts) -%}
md5(concat(
{%- for part in parts -%}
coalesce(cast({{ part }} as {{ dbt.type_string() }}), ''){% if not loop.last %}, '|', {% endif %}
{%- endfor -%}
))
{%- endmacro %}

{# The key of a dimension's member for "nothing recorded". #}
{% macro none_key() -%}md5('(none)'){%- endmacro %}

{# A JSON object as a struct of text fields; a missing field is null. #}
{% macro json_struct(payload, fields) -%}{{ adapter.dispatch('json_struct')(payload, fields) }}{%- endmacro %}
{% macro duckdb__json_struct(payload, fields) -%}
from_json({{ payload }}, '{ {%- for field in fields %}"{{ field }}":"VARCHAR"{{ "," if not loop.last }}{% endfor -%} }')
{%- endmacro %}
{% macro spark__json_struct(payload, fields) -%}
from_json({{ payload }}, '{% for field in fields %}`{{ field }}` string{{ ", " if not loop.last }}{% endfor %}')
{%- endmacro %}

{# A value of a type, or null where the text is not one. #}
{% macro try_type(value, type) -%}{{ adapter.dispatch('try_type')(value, type) }}{%- endmacro %}
{% macro duckdb__try_type(value, type) -%}try_cast({{ value }} as {{ type }}){%- endmacro %}
{% macro spark__try_type(value, type) -%}try_cast({{ value }} as {{ type }}){%- endmacro %}

{# The newest non-null value up to this row of a named window. #}
{% macro carried(value, window) -%}{{ adapter.dispatch('carried')(value, window) }}{%- endmacro %}
{% macro duckdb__carried(value, window) -%}last_value({{ value }} ignore nulls) over {{ window }}{%- endmacro %}
{% macro spark__carried(value, window) -%}last_value({{ value }}) ignore nulls over {{ window }}{%- endmacro %}

{# Of a group's rows that meet the condition: the value in the first, or the last, by the position columns.
   A null value in that row is passed over: coalesce it where null is an answer. #}
{% macro first_value_by(value, positions, condition) -%}{{ adapter.dispatch('first_value_by')(value, positions, condition) }}{%- endmacro %}
{% macro duckdb__first_value_by(value, positions, condition) -%}min_by({{ value }}, row({{ positions | join(', ') }})) filter (where {{ condition }}){%- endmacro %}
{% macro spark__first_value_by(value, positions, condition) -%}min_by({{ value }}, struct({{ positions | join(', ') }})) filter (where {{ condition }}){%- endmacro %}

{% macro last_value_by(value, positions, condition) -%}{{ adapter.dispatch('last_value_by')(value, positions, condition) }}{%- endmacro %}
{% macro duckdb__last_value_by(value, positions, condition) -%}max_by({{ value }}, row({{ positions | join(', ') }})) filter (where {{ condition }}){%- endmacro %}
{% macro spark__last_value_by(value, positions, condition) -%}max_by({{ value }}, struct({{ positions | join(', ') }})) filter (where {{ condition }}){%- endmacro %}

{# Quantile of a group with linear interpolation (the definition of Hyndman and Fan, type 7). #}
{% macro quantile(value, share) -%}{{ adapter.dispatch('quantile')(value, share) }}{%- endmacro %}
{% macro duckdb__quantile(value, share) -%}quantile_cont({{ value }}, {{ share }}){%- endmacro %}
{% macro spark__quantile(value, share) -%}percentile({{ value }}, {{ share }}){%- endmacro %}

{# Sorted, comma-separated distinct texts of a group. #}
{% macro sorted_list(value) -%}{{ adapter.dispatch('sorted_list')(value) }}{%- endmacro %}
{% macro duckdb__sorted_list(value) -%}string_agg(distinct {{ value }}, ', ' order by {{ value }}){%- endmacro %}
{% macro spark__sorted_list(value) -%}array_join(array_sort(collect_set({{ value }})), ', '){%- endmacro %}

{# Several columns as one comparable value. #}
{% macro packed(columns) -%}{{ adapter.dispatch('packed')(columns) }}{%- endmacro %}
{% macro duckdb__packed(columns) -%}row({{ columns | join(', ') }}){%- endmacro %}
{% macro spark__packed(columns) -%}struct({{ columns | join(', ') }}){%- endmacro %}

{# True when two values differ, where null is a value like any other. #}
{% macro is_different(left, right) -%}{{ adapter.dispatch('is_different')(left, right) }}{%- endmacro %}
{% macro duckdb__is_different(left, right) -%}({{ left }} is distinct from {{ right }}){%- endmacro %}
{% macro spark__is_different(left, right) -%}(not ({{ left }} <=> {{ right }})){%- endmacro %}
