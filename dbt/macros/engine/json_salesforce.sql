{# The text of a number at the top of a JSON object, with every digit it was sent with: parsers of JSON keep about 16.
   The key stands in quotes that no text value can hold unescaped. #}
{% macro json_number_text(payload, key) -%}
nullif(regexp_extract({{ payload }}, '"{{ key }}"[ ]*:[ ]*"?(-?[0-9][0-9.eE+-]*)', 1), '')
{%- endmacro %}
