{# The region of a deal by the setting segments.region_from; without it the deal's own, else its owner's, else its account's. #}
{% macro region_of(region_from, deal_region, owner_region, account_region) -%}
case {{ region_from }}
  when 'deal' then {{ deal_region }}
  when 'owner' then {{ owner_region }}
  when 'account' then {{ account_region }}
  else coalesce({{ deal_region }}, {{ owner_region }}, {{ account_region }})
end
{%- endmacro %}
