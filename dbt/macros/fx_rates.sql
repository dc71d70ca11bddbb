{# Of rates that are read as a whole each time, those readings in which a value is new: recorded_on is their day. #}
{% macro changed_rates(relation) -%}
select
  source_relation,
  currency,
  rate_date,
  home_units,
  recorded_on
from (
  select
    last_of_day.*,
    lag(home_units) over (partition by source_relation, currency, rate_date order by recorded_on) as home_units_before
  from (
    select
      source_relation,
      currency,
      rate_date,
      home_units,
      cast(extracted_at as date) as recorded_on,
      row_number() over (
        partition by source_relation, currency, rate_date, cast(extracted_at as date)
        order by extracted_at desc, batch_id desc, home_units desc
      ) as newest_first
    from {{ relation }}
    where currency is not null and rate_date is not null and home_units > 0
  ) as last_of_day
  where newest_first = 1
) as compared
where home_units_before is null or home_units_before <> home_units
{%- endmacro %}
