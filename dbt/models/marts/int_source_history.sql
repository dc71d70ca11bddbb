-- From which day on a source tells everything: before its first closing, or before its log begins, deals that closed
-- early are missing, and what is left looks slower and better than it was.
with context as (
  select as_of from {{ ref('stg_run_context') }}
),

moves as (
  select
    transitions.source_relation,
    transitions.business_date,
    transitions.from_status,
    transitions.to_status,
    transitions.change_source
  from {{ ref('fct_stage_transitions') }} as transitions
  cross join context
  where transitions.business_date <= context.as_of
),

firsts as (
  select
    source_relation,
    min(business_date) as first_entry_on,
    -- a deal typed in after it was closed tells nothing about when closings begin to be seen
    min(case when from_status = 'open' and to_status <> 'open' then business_date end) as first_closed_on,
    min(case when change_source = 'history' then business_date end) as first_logged_on
  from moves
  group by source_relation
),

final as (
  select
    source_relation,
    first_entry_on,
    first_closed_on,
    first_logged_on,
    greatest(coalesce(first_closed_on, first_entry_on), coalesce(first_logged_on, first_entry_on)) as full_from_on
  from firsts
)

select * from final
