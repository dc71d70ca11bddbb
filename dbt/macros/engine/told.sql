{# An instant from text: ISO 8601 in UTC, or milliseconds since 1970. #}
{% macro told_instant(value) -%}{{ adapter.dispatch('told_instant')(value) }}{%- endmacro %}
{% macro duckdb__told_instant(value) -%}coalesce(try_cast({{ value }} as timestamp), epoch_ms(try_cast({{ value }} as bigint))){%- endmacro %}
{% macro spark__told_instant(value) -%}coalesce(try_cast({{ value }} as timestamp), timestamp_millis(try_cast({{ value }} as bigint))){%- endmacro %}

{# The day of a close date. Midnight UTC is a date as such; any other instant means the business day it falls on. #}
{% macro told_date(instant, time_zone) -%}
case
  when {{ instant }} = cast(cast({{ instant }} as date) as timestamp) then cast({{ instant }} as date)
  else {{ business_date(instant, time_zone) }}
end
{%- endmacro %}
