-- Forecasts that people submitted, with the period in days, the person as the business knows it and the amount in the reporting
-- currency; rows that cannot be compared with anything say why.
with context as (
  select * from {{ ref('stg_run_context') }}
),

periods as (
  {%- for period_type in ['month', 'quarter', 'year'] %}
  select
    {{ period_type }}_label as period,
    {{ period_type }}_start_on as period_start,
    {{ period_type }}_end_on as period_end,
    max(business_day_index) as last_business_day
  from {{ ref('dim_date') }}
  group by {{ period_type }}_label, {{ period_type }}_start_on, {{ period_type }}_end_on
  {%- if not loop.last %}
  union all
  {%- endif %}
  {%- endfor %}
),

-- the day on which the bookings of a period are final: its last day and the grace of business days
finals as (
  select
    periods.period,
    periods.period_start,
    periods.period_end,
    case when context.grace_business_days = 0 then periods.period_end else min(days.date_day) end as final_on
  from periods
  cross join context
  left join {{ ref('dim_date') }} as days on periods.last_business_day + context.grace_business_days = days.business_day_index
  group by periods.period, periods.period_start, periods.period_end, context.grace_business_days
),

managers as (
  select manager
  from {{ ref('dim_team') }}
  where manager is not null
  union
  select manager
  from {{ ref('dim_owner') }}
  where manager is not null
),

reps as (
  select
    submitted.source_relation,
    submitted.file_name,
    submitted.row_number_in_file,
    min(owners.owner) as owner_label,
    -- one name in two sources is one person, two in one source are two
    count(distinct owners.owner_key) - count(distinct owners.source_relation) + 1 as owners_named
  from {{ ref('stg_submissions') }} as submitted
  inner join {{ ref('dim_owner') }} as owners
    on lower(submitted.person) in (lower(owners.owner), lower(owners.owner_id), lower(owners.email))
  group by submitted.source_relation, submitted.file_name, submitted.row_number_in_file
),

named as (
  select
    submitted.*,
    managers.manager,
    reps.owner_label,
    coalesce(reps.owners_named, 0) as owners_named,
    coalesce(submitted.role_name, case when managers.manager is not null then 'manager' else 'rep' end) as person_role
  from {{ ref('stg_submissions') }} as submitted
  left join managers on lower(submitted.person) = lower(managers.manager)
  left join reps
    on submitted.source_relation = reps.source_relation
      and submitted.file_name = reps.file_name
      and submitted.row_number_in_file = reps.row_number_in_file
),

joined as (
  select
    named.source_relation,
    named.file_name,
    named.row_number_in_file,
    named.submitted_on,
    named.period,
    finals.period_start,
    finals.period_end,
    finals.final_on,
    named.person as person_written,
    case named.person_role when 'manager' then named.manager when 'rep' then named.owner_label else named.person end as person,
    named.person_role,
    named.owners_named,
    named.category,
    named.amount_native,
    coalesce(named.currency, context.currency) as currency,
    cast(named.amount_native * rates.rate as decimal(20, 3)) as submitted_amount,
    context.as_of,
    row_number() over (
      partition by
        named.submitted_on,
        named.period,
        named.person_role,
        named.category,
        coalesce(case named.person_role when 'manager' then named.manager when 'rep' then named.owner_label end, lower(named.person))
      order by named.source_relation, named.file_name, named.row_number_in_file
    ) as time_submitted
  from named
  cross join context
  left join finals on named.period = finals.period
  left join {{ ref('int_fx_rates') }} as rates
    on coalesce(named.currency, context.currency) = rates.currency
      and named.submitted_on >= rates.valid_from_date
      and named.submitted_on < rates.valid_to_date
),

judged as (
  select
    *,
    case
      when period_start is null then 'unknown_period'
      when person_role not in ('rep', 'manager', 'company') then 'unknown_role'
      when person_role = 'rep' and owners_named > 1 then 'several_persons'
      when person is null then 'unknown_person'
      when submitted_on > period_end then 'after_the_period'
      when submitted_on > as_of then 'in_the_future'
      when submitted_amount is null then 'no_rate'
      when time_submitted > 1 then 'said_twice'
    end as problem_kind
  from joined
),

final as (
  select
    source_relation,
    file_name,
    row_number_in_file,
    submitted_on,
    period,
    period_start,
    period_end,
    final_on,
    coalesce(person, person_written) as person,
    person_role,
    category,
    amount_native,
    currency,
    submitted_amount,
    problem_kind is null as is_usable,
    case problem_kind
      when 'unknown_period' then concat('the calendar has no period ', period)
      when 'unknown_role' then concat('the role ', person_role, ' is not known')
      when 'several_persons' then concat('several owners are called ', person_written)
      when 'unknown_person' then concat('there is no ', case person_role when 'rep' then 'owner' else 'manager' end, ' ', person_written)
      when 'after_the_period' then concat('it was submitted on ', cast(submitted_on as {{ dbt.type_string() }}), ', after the period had ended')
      when 'in_the_future' then concat('it is dated ', cast(submitted_on as {{ dbt.type_string() }}), ', after the as-of day')
      when 'no_rate' then concat('there is no exchange rate of ', currency, ' on ', cast(submitted_on as {{ dbt.type_string() }}))
      when 'said_twice' then concat(person_written, ' submitted ', category, ' for ', period, ' twice on ', cast(submitted_on as {{ dbt.type_string() }}))
    end as problem,
    case problem_kind
      when 'unknown_period' then 'Write the period as the marts do: 2026Q1, 2026-03 or 2026.'
      when 'unknown_role' then 'Write rep, manager or company in the column role, or leave it empty.'
      when 'several_persons' then 'Write the id of the owner instead of the name.'
      when 'unknown_person' then 'Write the name as the owners file or the teams file has it, the id of the owner, or the role company for the whole business.'
      when 'after_the_period' then 'Correct the day or the period: a forecast is made before its outcome.'
      when 'in_the_future' then 'Correct the day; a later one counts from its day on.'
      when 'no_rate' then 'Add the rate to the file named under tables: fx_rates.'
      when 'said_twice' then 'Keep one of the rows; the first one counts.'
    end as remedy
  from judged
)

select * from final
