{# The forecast category that a CRM's word names: omitted, pipeline, best_case, most_likely, commit, closed; null for other
   words. Salesforce calls commit "Forecast", HubSpot calls omitted "Not forecasted". #}
{% macro forecast_category(word) -%}
case lower(replace(replace(replace(trim({{ word }}), ' ', ''), '_', ''), '-', ''))
  when 'omitted' then 'omitted'
  when 'omit' then 'omitted'
  when 'notforecasted' then 'omitted'
  when 'pipeline' then 'pipeline'
  when 'bestcase' then 'best_case'
  when 'upside' then 'best_case'
  when 'mostlikely' then 'most_likely'
  when 'commit' then 'commit'
  when 'committed' then 'commit'
  when 'forecast' then 'commit'
  when 'closed' then 'closed'
  when 'closedwon' then 'closed'
end
{%- endmacro %}
