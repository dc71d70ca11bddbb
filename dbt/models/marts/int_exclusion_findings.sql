-- What metrics.exclude leaves out, counted; and its names that mean nobody, with the known name that is spelt most alike.
{%- set known_shown = 8 %}
with deals as (
  select
    deal_key,
    deal_id,
    excluded_by
  from {{ ref('fct_deals') }}
  where not is_deleted
),

checked as (
  select count(*) as deals_checked
  from deals
),

numbered as (
  select
    *,
    row_number() over (partition by excluded_by order by deal_id, deal_key) as sample_number
  from deals
  where excluded_by is not null
),

counted as (
  select
    excluded_by,
    count(*) as deals_affected,
    {{ sorted_list('case when sample_number <= 5 then deal_id end') }} as sample_ids
  from numbered
  group by excluded_by
),

-- in scope now, out of it before
earlier as (
  select
    versions.excluded_by,
    count(distinct versions.deal_key) as deals_earlier
  from {{ ref('fct_deal_versions') }} as versions
  inner join deals on versions.deal_key = deals.deal_key
  where versions.excluded_by is not null
    and deals.excluded_by is null
  group by versions.excluded_by
),

written as (
  select
    rule,
    written_name,
    max(member_key) is not null as is_known
  from {{ ref('int_exclusions') }}
  group by rule, written_name
),

members as (
  select 'pipelines' as rule, pipeline as known_name
  from {{ ref('dim_pipeline') }}
  where pipeline_id <> '(none)'
  union
  select 'owners' as rule, owner as known_name
  from {{ ref('dim_owner') }}
  where owner_id <> '(none)'
  union
  select 'deal_types' as rule, deal_type as known_name
  from {{ ref('fct_deals') }}
  where deal_type <> '(none)'
),

compared as (
  select
    written.rule,
    written.written_name,
    members.known_name,
    levenshtein(lower(written.written_name), lower(members.known_name)) as letters_apart,
    row_number() over (
      partition by written.rule, written.written_name
      order by levenshtein(lower(written.written_name), lower(members.known_name)), members.known_name
    ) as most_alike_first
  from written
  inner join members on written.rule = members.rule
  where not written.is_known
),

suggested as (
  select
    rule,
    written_name,
    max(case when most_alike_first = 1 and 3 * letters_apart <= length(written_name) + 2 then known_name end) as suggested_name,
    {{ sorted_list('case when most_alike_first <= ' ~ known_shown ~ ' then known_name end') }} as known_names
  from compared
  group by rule, written_name
),

final as (
  select
    'excluded_from_metrics' as rule_name,
    concat(written.rule, ': ', written.written_name) as subject,
    'info' as severity,
    case when counted.deals_affected > 0 or earlier.deals_earlier > 0 then 'finding' else 'ok' end as status,
    coalesce(counted.deals_affected, 0) as deals_affected,
    checked.deals_checked,
    counted.sample_ids,
    concat(
      cast(coalesce(counted.deals_affected, 0) as {{ dbt.type_string() }}), ' of ',
      cast(checked.deals_checked as {{ dbt.type_string() }}), ' deals are left out of every metric and forecast by metrics.exclude.',
      written.rule, ': ', written.written_name,
      case
        when earlier.deals_earlier > 0
          then concat('; ', cast(earlier.deals_earlier as {{ dbt.type_string() }}), ' more were for a time, and are not any more')
        else ''
      end, '.'
    ) as message,
    case when counted.deals_affected > 0 then 'Nothing to do if that is meant; they are listed in fct_deals by excluded_by.' end as remedy
  from written
  cross join checked
  left join counted on concat(written.rule, ': ', written.written_name) = counted.excluded_by
  left join earlier on concat(written.rule, ': ', written.written_name) = earlier.excluded_by
  where written.is_known
  union all
  select
    'excluded_name_unknown' as rule_name,
    concat(written.rule, ': ', written.written_name) as subject,
    'warning' as severity,
    'finding' as status,
    0 as deals_affected,
    checked.deals_checked,
    null as sample_ids,
    concat(
      'metrics.exclude.', written.rule, ' names ', written.written_name, ', and the data know no such name: nothing is left out by it.',
      case when suggested.suggested_name is not null then concat(' Did you mean ', suggested.suggested_name, '?') else '' end
    ) as message,
    concat(
      'Correct the name under metrics: exclude: ', written.rule, ' or remove it',
      case when suggested.known_names is not null then concat('; known are ', suggested.known_names) else '' end, '.'
    ) as remedy
  from written
  cross join checked
  left join suggested
    on written.rule = suggested.rule
      and written.written_name = suggested.written_name
  where not written.is_known
)

select * from final
