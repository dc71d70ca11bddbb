{# Where engines differ about digests of rows, and about rows that are replaced inside a table. #}

{# The number of a deal: 64 bits of its key, so that a deal keeps its number however often it is built. #}
{% macro number_of_key(key) -%}{{ adapter.dispatch('number_of_key')(key) }}{%- endmacro %}
{% macro duckdb__number_of_key(key) -%}
cast(cast(cast(concat('0x', substr({{ key }}, 1, 16)) as ubigint) as hugeint) - 9223372036854775808 as bigint)
{%- endmacro %}
{% macro spark__number_of_key(key) -%}
cast(cast(conv(substr({{ key }}, 1, 16), 16, 10) as decimal(20, 0)) - 9223372036854775808 as bigint)
{%- endmacro %}

{# A 64-bit hash of several columns of a row; null is a value like any other. Equal only inside one engine's version. #}
{% macro row_hash(columns) -%}{{ adapter.dispatch('row_hash')(columns) }}{%- endmacro %}
{% macro duckdb__row_hash(columns) -%}hash({{ columns | join(', ') }}){%- endmacro %}
{% macro spark__row_hash(columns) -%}xxhash64({{ columns | join(', ') }}){%- endmacro %}

{# Of a group's row hashes: a text that is equal for equal bags of rows, whatever their order. #}
{% macro bag_digest(row_hashes) -%}{{ adapter.dispatch('bag_digest')(row_hashes) }}{%- endmacro %}
{% macro duckdb__bag_digest(row_hashes) -%}
concat(count(*), ' ', sum(cast({{ row_hashes }} as hugeint)), ' ', bit_xor({{ row_hashes }}))
{%- endmacro %}
{% macro spark__bag_digest(row_hashes) -%}
concat(count(*), ' ', sum(cast({{ row_hashes }} as decimal(38, 0))), ' ', bit_xor({{ row_hashes }}))
{%- endmacro %}

{# Whether rows of a table can be replaced; plain Parquet under Spark cannot, so there every table is built whole. #}
{% macro can_replace_rows() -%}{% do return(adapter.dispatch('can_replace_rows')()) %}{%- endmacro %}
{% macro duckdb__can_replace_rows() -%}{% do return(true) %}{%- endmacro %}
{% macro spark__can_replace_rows() -%}{% do return(false) %}{%- endmacro %}
