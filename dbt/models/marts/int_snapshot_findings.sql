-- What comparing exports leaves for people to judge: deals that are gone, and exports that lack too many to be whole.
with context as (
  select as_of from {{ ref('stg_run_context') }}
),

absences as (
  select absences.*
  from {{ ref('int_deal_absences') }} as absences
  cross join context
  where absences.missing_from_on <= context.as_of
    and coalesce(absences.returned_on > context.as_of, true)
),

gone as (
  select
    absences.source_relation,
    absences.deal_id,
    row_number() over (partition by absences.source_relation order by absences.removed_on desc, absences.deal_id) as newest_first
  from absences
  cross join context
  where absences.removed_on <= context.as_of
),

kept as (
  select
    absences.source_relation,
    absences.missing_from_on,
    absences.deal_id,
    row_number() over (partition by absences.source_relation, absences.missing_from_on order by absences.deal_id) as sample_number
  from absences
  cross join context
  where coalesce(absences.removed_on > context.as_of, true)
),

sources as (
  select source_relation
  from {{ ref('int_snapshot_days') }}
  group by source_relation
),

final as (
  select
    sources.source_relation,
    'deals_vanished' as rule_name,
    '(all)' as subject,
    count(gone.deal_id) as deals_affected,
    {{ sorted_list('case when gone.newest_first <= 5 then gone.deal_id end') }} as sample_ids,
    concat(
      cast(count(gone.deal_id) as {{ dbt.type_string() }}),
      ' deals are missing from the newest exports: they count as deleted from the day they were missing, neither won nor lost.'
    ) as message,
    'Nothing to do if they were deleted. If the export is filtered (open deals only, this year only), export all deals.' as remedy
  from sources
  left join gone on sources.source_relation = gone.source_relation
  group by sources.source_relation
  union all
  select
    source_relation,
    'export_not_whole' as rule_name,
    cast(missing_from_on as {{ dbt.type_string() }}) as subject,
    count(*) as deals_affected,
    {{ sorted_list('case when sample_number <= 5 then deal_id end') }} as sample_ids,
    concat(
      cast(count(*) as {{ dbt.type_string() }}), ' deals are missing since the export of ', cast(missing_from_on as {{ dbt.type_string() }}),
      ': too many at once to be believed, or beside refused rows that name no deal. They stay as they were.'
    ) as message,
    'Deliver a whole export of that day or a later one; deals that are missing from it then count as deleted.' as remedy
  from kept
  group by source_relation, missing_from_on
)

select * from final
