-- noqa: disable=TMP
-- Their texts are rendered from the list in macros/published_views.sql; the publisher creates them.
{%- for mart in long_marts() %}
-- depends_on: {{ ref(mart.mart) }}
{%- endfor %}
{%- for dimension in keyed_segments() + ['date'] %}
-- depends_on: {{ ref('dim_' ~ dimension) }}
{%- endfor %}
{%- set views = published_views(graph.nodes) if graph is defined and execute else [] %}
with views as (
  {%- for view in views %}
  select
    '{{ view.name }}' as view_name,
    '{{ view.segment_type }}' as segment_type,
    '{{ view.like }}' as words_like,
    '{{ view.description | replace("'", "''") }}' as description,
    '{{ tojson(view.words) | replace("'", "''") }}' as column_words,
    '{{ view.body | trim | replace("'", "''") }}' as body
  union all
  {%- endfor %}
  -- the types, where nothing is listed
  select
    '' as view_name,
    '' as segment_type,
    '' as words_like,
    '' as description,
    '' as column_words,
    '' as body
),

final as (
  select
    view_name,
    nullif(segment_type, '') as segment_type,
    nullif(words_like, '') as words_like,
    description,
    column_words,
    body
  from views
  where view_name <> ''
)

select * from final
