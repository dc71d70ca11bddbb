{# The class of a loss reason by its words, English as CRMs deliver them; the first class that fits. Other words: a line
   `loss_class,<the reason>,<the class>` in the file named under tables: aliases. #}
{% macro loss_class(reason) -%}
{%- set classes = [
  ('disqualified', ['disqualif', 'unqualified', 'not qualified', 'duplicate', 'spam', 'bad fit', 'not a fit', 'poor fit', 'out of scope', 'wrong contact']),
  ('no_decision', ['no decision', 'no-decision', 'undecided', 'status quo', 'do nothing', 'did nothing', 'no response', 'unresponsive', 'went dark', 'went silent', 'ghost', 'derail', 'cancel', 'no interest', 'lost interest']),
  ('competitor', ['compet', 'rival', 'other vendor', 'other supplier', 'another vendor', 'another supplier', 'went with', 'in-house', 'incumbent']),
  ('budget', ['budget', 'funding', 'no money']),
  ('price', ['price', 'pricing', 'expensive', 'cost', 'discount']),
  ('timing', ['timing', 'too early', 'too late', 'not now', 'postpone', 'on hold', 'delay']),
  ('product', ['feature', 'functional', 'product', 'technical', 'integration', 'requirement', 'missing', 'capabilit']),
  ('relationship', ['relationship', 'service', 'support', 'trust', 'champion', 'contact left']),
] -%}
case
  when trim(coalesce({{ reason }}, '')) = '' then 'unknown'
  {%- for name, words in classes %}
  when {% for word in words %}lower({{ reason }}) like '%{{ word }}%'{{ " or " if not loop.last }}{% endfor %} then '{{ name }}'
  {%- endfor %}
  else 'other'
end
{%- endmacro %}
