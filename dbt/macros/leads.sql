{# How a lead stands when its status or stage reads so; null where the word says nothing. Words of the business's own
   stand in the aliases: lead_status,Kein Interesse,disqualified. #}
{% macro lead_outcome(word) -%}
case
  when lower(trim({{ word }})) in ('converted', 'closed - converted', 'closed converted', 'won') then 'converted'
  when lower(trim({{ word }})) in (
    'disqualified', 'unqualified', 'closed - not converted', 'closed not converted', 'not converted', 'lost', 'rejected',
    'recycled', 'archived', 'junk'
  ) then 'disqualified'
end
{%- endmacro %}

{# The words of the business's own, one row per word. #}
{% macro lead_words() -%}
select
  lower(trim(alias)) as word,
  min(lower(trim(canonical_name))) as outcome
from {{ ref('stg_aliases') }}
where lower(entity) = 'lead_status'
  and lower(trim(canonical_name)) in ('open', 'converted', 'disqualified')
group by lower(trim(alias))
{%- endmacro %}

{# Key of a lead. No source and no deal is called (lead), so it is no key of a deal. #}
{% macro lead_key(source_relation, lead_id) -%}{{ hash_key(["'(lead)'", source_relation, lead_id]) }}{%- endmacro %}
