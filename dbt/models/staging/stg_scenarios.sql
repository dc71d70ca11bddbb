with rows_landed as (
  {{ landed_newest('scenarios', ['row', 'scenario', 'change', 'subject', 'value', 'starts_on', 'ramp_days', 'source']) }}
),

final as (
  select distinct
    rows_landed.source_relation,
    rows_landed.p.file as file_name,
    {{ try_type('rows_landed.p.row', 'bigint') }} as row_number_in_file,
    trim(rows_landed.p.scenario) as scenario,
    lower(replace(trim(rows_landed.p.change), ' ', '_')) as change_kind,
    nullif(trim(rows_landed.p.subject), '') as subject,
    nullif(trim(rows_landed.p.value), '') as value_text,
    {{ try_type('rows_landed.p.starts_on', 'date') }} as starts_on,
    {{ try_type('rows_landed.p.ramp_days', 'int') }} as ramp_days,
    nullif(trim(rows_landed.p.source), '') as deal_source
  from rows_landed
)

select * from final
