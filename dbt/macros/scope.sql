{# Which deals metrics count, and in which region. What metrics.exclude leaves out is judged state by state, by the state's
   own pipeline and owner, so a deal can leave the scope and come back; a type of deal holds for its whole life. #}

{# The setting that leaves a state out, such as "pipelines: Renewals"; null in scope. Needs exclusion_joins. #}
{% macro excluded_by() -%}
coalesce(excluded_pipelines.excluded_by, excluded_deal_types.excluded_by, excluded_owners.excluded_by)
{%- endmacro %}

{# The joins that find it, from expressions for the state's pipeline key, type of deal and owner key. #}
{% macro exclusion_joins(pipeline_key, deal_type, owner_key) -%}
{%- for rule, member_key in [
  ('pipelines', pipeline_key), ('deal_types', deal_type_key(deal_type)), ('owners', owner_key)
] %}
left join {{ excluded_members(rule) }} as excluded_{{ rule }} on {{ member_key }} = excluded_{{ rule }}.member_key
{%- endfor %}
{%- endmacro %}

{# Pipelines, types of deal or owners that metrics.exclude names, each with its setting. #}
{% macro excluded_members(rule) -%}
(
  select
    member_key,
    min(concat(rule, ': ', written_name)) as excluded_by
  from {{ ref('int_exclusions') }}
  where rule = '{{ rule }}'
  group by member_key
)
{%- endmacro %}

{# Types of deal are compared as written, but for case and outer blanks. #}
{% macro deal_type_key(deal_type) -%}
coalesce(nullif(lower(trim({{ deal_type }})), ''), '(none)')
{%- endmacro %}

{# The money field of a file's row that is the amount of all metrics (metrics.amount_measure), as text. #}
{% macro measured_amount(row, amount_measure) -%}
case {{ amount_measure }} when 'arr' then {{ row }}.arr when 'tcv' then {{ row }}.tcv else {{ row }}.amount end
{%- endmacro %}
