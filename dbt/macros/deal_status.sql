{# The outcome that a CRM's word for the state of a deal names; null for an open deal and for other words. #}
{% macro closed_outcome(status) -%}
case
  when lower({{ status }}) like '%won%' then 'won'
  when lower({{ status }}) like '%lost%' then 'lost'
  when lower({{ status }}) in ('closed_other', 'abandoned', 'cancelled', 'canceled', 'suspended') then 'closed_other'
end
{%- endmacro %}
