{# Where engines differ about time. Instants are timestamps in UTC without a zone. #}

{# Microseconds since 1970-01-01 00:00 UTC, bigint. #}
{% macro epoch_us(instant) -%}{{ adapter.dispatch('epoch_us')(instant) }}{%- endmacro %}
{% macro duckdb__epoch_us(instant) -%}epoch_us({{ instant }}){%- endmacro %}
{% macro spark__epoch_us(instant) -%}unix_micros({{ instant }}){%- endmacro %}

{# Wall-clock time of a UTC instant in a time zone. #}
{% macro local_time(instant, time_zone) -%}{{ adapter.dispatch('local_time')(instant, time_zone) }}{%- endmacro %}
{% macro duckdb__local_time(instant, time_zone) -%}timezone({{ time_zone }}, timezone('UTC', {{ instant }})){%- endmacro %}
{% macro spark__local_time(instant, time_zone) -%}from_utc_timestamp({{ instant }}, {{ time_zone }}){%- endmacro %}

{# UTC instant of a wall-clock time (or of the midnight that begins a date) in a time zone. #}
{% macro utc_instant(wall_clock, time_zone) -%}{{ adapter.dispatch('utc_instant')(wall_clock, time_zone) }}{%- endmacro %}
{% macro duckdb__utc_instant(wall_clock, time_zone) -%}timezone('UTC', timezone({{ time_zone }}, cast({{ wall_clock }} as timestamp))){%- endmacro %}
{% macro spark__utc_instant(wall_clock, time_zone) -%}to_utc_timestamp(cast({{ wall_clock }} as timestamp), {{ time_zone }}){%- endmacro %}

{# The business day on which an instant falls. #}
{% macro business_date(instant, time_zone) -%}cast({{ local_time(instant, time_zone) }} as date){%- endmacro %}

{# later - earlier in days between two dates, int. #}
{% macro days_between(earlier, later) -%}{{ adapter.dispatch('days_between')(earlier, later) }}{%- endmacro %}
{% macro duckdb__days_between(earlier, later) -%}cast({{ later }} - {{ earlier }} as int){%- endmacro %}
{% macro spark__days_between(earlier, later) -%}datediff({{ later }}, {{ earlier }}){%- endmacro %}

{# A date moved by a number of days. #}
{% macro add_days(day, days) -%}{{ adapter.dispatch('add_days')(day, days) }}{%- endmacro %}
{% macro duckdb__add_days(day, days) -%}cast({{ day }} + cast({{ days }} as integer) as date){%- endmacro %}
{% macro spark__add_days(day, days) -%}date_add({{ day }}, cast({{ days }} as int)){%- endmacro %}

{# A date moved by a number of months; the last day of a month where the day does not exist. #}
{% macro shift_months(day, months) -%}{{ adapter.dispatch('shift_months')(day, months) }}{%- endmacro %}
{% macro duckdb__shift_months(day, months) -%}cast({{ day }} + to_months(cast({{ months }} as integer)) as date){%- endmacro %}
{% macro spark__shift_months(day, months) -%}add_months({{ day }}, cast({{ months }} as int)){%- endmacro %}

{# ISO day of the week: 1 Monday to 7 Sunday. #}
{% macro iso_weekday(day) -%}{{ adapter.dispatch('iso_weekday')(day) }}{%- endmacro %}
{% macro duckdb__iso_weekday(day) -%}cast(isodow({{ day }}) as int){%- endmacro %}
{% macro spark__iso_weekday(day) -%}(weekday({{ day }}) + 1){%- endmacro %}

{# ISO week label 2026-W13 of a date, for weeks that start on Monday. #}
{% macro iso_week_label(day) -%}{{ adapter.dispatch('iso_week_label')(day) }}{%- endmacro %}
{% macro duckdb__iso_week_label(day) -%}strftime({{ day }}, '%G-W%V'){%- endmacro %}
{% macro spark__iso_week_label(day) -%}concat(cast(extract(yearofweek from {{ day }}) as string), '-W', lpad(cast(extract(week from {{ day }}) as string), 2, '0')){%- endmacro %}

{# A table of all dates from first to last, both included; one column, "calendar_day". #}
{% macro calendar_spine(first_day, last_day, relation) -%}{{ adapter.dispatch('calendar_spine')(first_day, last_day, relation) }}{%- endmacro %}
{% macro duckdb__calendar_spine(first_day, last_day, relation) -%}
select cast(unnest(generate_series(cast({{ first_day }} as timestamp), cast({{ last_day }} as timestamp), interval 1 day)) as date) as calendar_day
from {{ relation }}
{%- endmacro %}
{% macro spark__calendar_spine(first_day, last_day, relation) -%}
select explode(sequence({{ first_day }}, {{ last_day }}, interval 1 day)) as calendar_day
from {{ relation }}
{%- endmacro %}
