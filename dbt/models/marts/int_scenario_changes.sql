-- What each row of the scenarios asks for, and what is wrong with those that cannot be used. Numbers are written with a
-- point; a share is 60% or 0.6, and a bare number above what is possible is refused rather than guessed.
with quarters as (
  select
    quarter_label,
    quarter_index,
    quarter_offset
  from {{ ref('dim_date') }}
  group by quarter_label, quarter_index, quarter_offset
),

last_quarter as (
  select max(quarter_label) as quarter_label
  from quarters
),

written as (
  select
    *,
    coalesce(right(value_text, 1) = '%', false) as is_percent,
    {{ try_type("trim(replace(value_text, '%', ''))", 'double') }} as bare_number
  from {{ ref('stg_scenarios') }}
),

valued as (
  select
    *,
    case when is_percent then bare_number / 100e0 else bare_number end as number_value
  from written
),

deals_found as (
  select
    rows_asked.source_relation,
    rows_asked.file_name,
    rows_asked.row_number_in_file,
    count(*) as deals,
    min(deals.deal_key) as deal_key
  from valued as rows_asked
  inner join {{ ref('dim_deal') }} as deals
    on rows_asked.subject = deals.deal_id
      and (rows_asked.deal_source is null or rows_asked.deal_source = deals.source_relation)
  where left(rows_asked.change_kind, 5) = 'deal_' and not deals.is_deleted and deals.merged_into_deal_id is null
  group by rows_asked.source_relation, rows_asked.file_name, rows_asked.row_number_in_file
),

stages_found as (
  select
    rows_asked.source_relation,
    rows_asked.file_name,
    rows_asked.row_number_in_file,
    min(stages.stage) as stage
  from valued as rows_asked
  inner join {{ ref('dim_stage') }} as stages
    on lower(rows_asked.subject) in (lower(stages.stage), lower(stages.stage_id))
      and stages.is_open
      and not stages.is_deleted
  where left(rows_asked.change_kind, 6) = 'stage_'
  group by rows_asked.source_relation, rows_asked.file_name, rows_asked.row_number_in_file
),

joined as (
  select
    valued.*,
    deals_found.deal_key,
    coalesce(deals_found.deals, 0) as deals_named,
    stages_found.stage,
    quarters.quarter_label as to_period,
    quarters.quarter_offset,
    last_quarter.quarter_label as last_period,
    left(valued.change_kind, 5) = 'deal_' as is_of_deal,
    left(valued.change_kind, 6) = 'stage_' as is_of_stage,
    row_number() over (
      partition by
        valued.source_relation,
        valued.scenario,
        valued.change_kind,
        coalesce(deals_found.deal_key, stages_found.stage, cast(valued.row_number_in_file as {{ dbt.type_string() }}))
      order by valued.file_name, valued.row_number_in_file
    ) as time_asked
  from valued
  cross join last_quarter
  left join deals_found
    on valued.source_relation = deals_found.source_relation
      and valued.file_name = deals_found.file_name
      and valued.row_number_in_file = deals_found.row_number_in_file
  left join stages_found
    on valued.source_relation = stages_found.source_relation
      and valued.file_name = stages_found.file_name
      and valued.row_number_in_file = stages_found.row_number_in_file
  left join quarters on upper(valued.value_text) = upper(quarters.quarter_label)
),

judged as (
  select
    *,
    case
      when change_kind not in (
        'deal_slips', 'deal_won', 'deal_lost', 'deal_win_chance', 'deal_amount', 'stage_win_factor', 'stage_win_chance', 'hire_reps', 'new_business'
      ) then 'unknown_change'
      when is_of_deal and subject is null then 'no_deal'
      when is_of_deal and deals_named = 0 then 'unknown_deal'
      when is_of_deal and deals_named > 1 then 'deal_of_several_sources'
      when is_of_stage and subject is null then 'no_stage'
      when is_of_stage and stage is null then 'unknown_stage'
      when not is_of_deal and not is_of_stage and subject is not null then 'needless_subject'
      when change_kind = 'deal_lost' and value_text is not null then 'needless_value'
      when change_kind = 'deal_won' and value_text is not null and to_period is null then 'unknown_quarter'
      when change_kind in ('deal_won', 'deal_slips') and quarter_offset < 0 then 'past_quarter'
      when change_kind = 'deal_slips' and to_period is null
        and not coalesce(not is_percent and bare_number between 1 and 3650 and bare_number = floor(bare_number), false) then 'no_slip'
      when change_kind in ('deal_win_chance', 'stage_win_chance') and not coalesce(number_value between 0 and 1, false) then 'no_chance'
      when change_kind = 'deal_amount' and not coalesce(not is_percent and bare_number > 0 and bare_number < 1e15, false) then 'no_amount'
      when change_kind = 'stage_win_factor' and not coalesce(number_value between 0 and 10, false) then 'no_factor'
      when change_kind = 'hire_reps' and not coalesce(not is_percent and bare_number > 0 and bare_number <= 10000, false) then 'no_reps'
      when change_kind = 'new_business'
        and not coalesce(number_value between -1 and 10 and (is_percent or number_value <= 1), false) then 'no_growth'
      when ramp_days < 0 then 'no_ramp'
      when time_asked > 1 then 'said_twice'
    end as problem_kind
  from joined
),

final as (
  select
    source_relation,
    file_name,
    row_number_in_file,
    scenario,
    change_kind,
    subject,
    value_text,
    deal_key,
    stage,
    cast(case when change_kind <> 'deal_slips' or to_period is null then number_value end as double) as number_value,
    to_period,
    starts_on,
    ramp_days,
    problem_kind is null as is_usable,
    case problem_kind
      when 'unknown_change' then concat('the change ', change_kind, ' is not known')
      when 'no_deal' then concat(change_kind, ' names no deal')
      when 'unknown_deal' then concat('there is no deal ', subject, case when deal_source is not null then concat(' in the source ', deal_source) else '' end)
      when 'deal_of_several_sources' then concat('several sources have a deal ', subject)
      when 'no_stage' then concat(change_kind, ' names no stage')
      when 'unknown_stage' then concat('there is no open stage ', subject)
      when 'needless_subject' then concat(change_kind, ' is about the whole business, but the row names ', subject)
      when 'needless_value' then concat('deal_lost takes no value, but the row has ', value_text)
      when 'unknown_quarter' then concat('the calendar has no quarter ', value_text)
      when 'past_quarter' then concat('the quarter ', value_text, ' is over')
      when 'no_slip' then concat(coalesce(value_text, 'an empty value'), ' is neither a quarter of the calendar nor a number of days')
      when 'no_chance' then concat(coalesce(value_text, 'an empty value'), ' is no chance between 0% and 100%')
      when 'no_amount' then concat(coalesce(value_text, 'an empty value'), ' is no amount above zero')
      when 'no_factor' then concat(coalesce(value_text, 'an empty value'), ' is no factor between 0 and 10')
      when 'no_reps' then concat(coalesce(value_text, 'an empty value'), ' is no number of reps')
      when 'no_growth' then concat(coalesce(value_text, 'an empty value'), ' is no share of new business')
      when 'no_ramp' then concat(cast(ramp_days as {{ dbt.type_string() }}), ' days are no ramp')
      when 'said_twice' then concat('the scenario ', scenario, ' has ', change_kind, ' of ', coalesce(subject, 'the whole business'), ' twice')
    end as problem,
    case problem_kind
      when 'unknown_change' then concat(
        'Write deal_slips, deal_won, deal_lost, deal_win_chance, deal_amount, stage_win_factor, stage_win_chance, ',
        'hire_reps or new_business in the column change.'
      )
      when 'no_deal' then 'Put the id of the deal, as the CRM has it, into the column subject.'
      when 'unknown_deal' then 'Put the id of a deal that the CRM has, not its name, into the column subject.'
      when 'deal_of_several_sources' then 'Name the source of the deal, as pipeline.yaml calls it, in the column source.'
      when 'no_stage' then 'Put the name or the id of an open stage into the column subject.'
      when 'unknown_stage' then 'Write the stage as the CRM does; closed stages have no chance to change.'
      when 'needless_subject' then 'Leave the column subject empty.'
      when 'needless_value' then 'Leave the value empty, or write deal_win_chance with the chance that is left.'
      when 'unknown_quarter' then concat('Write a fiscal quarter such as ', last_period, ', the last of the calendar, or leave the value empty for this quarter.')
      when 'past_quarter' then 'Name this quarter or a later one.'
      when 'no_slip' then concat('Write whole days such as 30, or a fiscal quarter up to ', last_period, '.')
      when 'no_chance' then 'Write a share such as 60% or 0.6.'
      when 'no_amount' then 'Write digits with a point, in the reporting currency, such as 250000.'
      when 'no_factor' then 'Write 1.2 for a fifth more, or 80% for a fifth less.'
      when 'no_reps' then 'Write how many reps are hired, such as 2.'
      when 'no_growth' then 'Write how much more is created, such as 10%, or -5% for less.'
      when 'no_ramp' then 'Write the days until a new rep brings as much as the others, such as 90.'
      when 'said_twice' then 'Keep one of the rows; the first one counts.'
    end as remedy
  from judged
)

select * from final
