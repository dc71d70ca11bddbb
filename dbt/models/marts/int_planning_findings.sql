-- Rows of the scenarios and submissions that cannot be used, each with its file, its row and what to write instead.
with judged as (
  {%- for model, entity in [('int_scenario_changes', 'scenario'), ('int_submissions', 'submission')] %}
  select
    source_relation,
    '{{ entity }}_unusable' as rule_name,
    '{{ entity }}s' as what,
    coalesce(file_name, '(none)') as file_name,
    row_number_in_file,
    is_usable,
    problem,
    remedy,
    count(*) over (partition by source_relation) as rows_checked,
    sum(case when is_usable then 0 else 1 end) over (partition by source_relation) as rows_unusable
  from {{ ref(model) }}
  {%- if not loop.last %}
  union all
  {%- endif %}
  {%- endfor %}
),

final as (
  select
    source_relation,
    rule_name,
    concat(file_name, ':', cast(row_number_in_file as {{ dbt.type_string() }})) as subject,
    'error' as severity,
    'finding' as status,
    cast(1 as bigint) as rows_affected,
    cast(rows_checked as bigint) as rows_checked,
    concat(file_name, ':', cast(row_number_in_file as {{ dbt.type_string() }})) as sample_ids,
    concat(file_name, ' row ', cast(row_number_in_file as {{ dbt.type_string() }}), ' is not used: ', problem, '.') as message,
    remedy,
    cast(null as {{ dbt.type_string() }}) as line_to_paste
  from judged
  where not is_usable
  union all
  select
    source_relation,
    rule_name,
    '(all)' as subject,
    'error' as severity,
    'ok' as status,
    cast(0 as bigint) as rows_affected,
    cast(max(rows_checked) as bigint) as rows_checked,
    null as sample_ids,
    concat('All ', cast(max(rows_checked) as {{ dbt.type_string() }}), ' rows of ', max(what), ' can be used.') as message,
    null as remedy,
    null as line_to_paste
  from judged
  where rows_unusable = 0
  group by source_relation, rule_name
)

select * from final
