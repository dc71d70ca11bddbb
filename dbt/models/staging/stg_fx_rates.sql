-- Rates of the business's own table; of a currency that it does not name, those that a CRM has. A CRM tells each
-- currency in units of its own main one: a rate is the quotient of two, and its first also counts for the days before.
with rows_landed as (
  {{ landed_newest('fx_rates', ['currency', 'rate_date', 'rate', 'recorded_on']) }}
),

own_rates as (
  select distinct
    rows_landed.source_relation,
    rows_landed.p.currency as currency,
    {{ try_type('rows_landed.p.rate_date', 'date') }} as rate_date,
    {{ try_type('rows_landed.p.rate', 'double') }} as rate,
    {{ try_type('rows_landed.p.recorded_on', 'date') }} as recorded_on
  from rows_landed
),

context as (
  select currency from {{ ref('stg_run_context') }}
),

vendor_rates as (
  select
    cast(null as {{ dbt.type_string() }}) as source_relation,
    cast(null as {{ dbt.type_string() }}) as currency,
    cast(null as date) as rate_date,
    cast(null as double) as home_units,
    cast(null as date) as recorded_on
  from context
  where 1 = 0
  {{ union_vendors('fx_rates', ['source_relation', 'currency', 'rate_date', 'home_units', 'recorded_on'], ['hubspot', 'salesforce']) }}
),

since_ever as (
  select
    source_relation,
    currency,
    case
      when rate_date = min(rate_date) over (partition by source_relation, currency) then date '1900-01-01'
      else rate_date
    end as rate_date,
    home_units,
    recorded_on
  from vendor_rates
),

-- both legs on one line of time
legs as (
  select
    source_relation,
    currency,
    rate_date,
    recorded_on,
    home_units as own_units,
    cast(null as double) as reporting_units
  from since_ever
  union all
  select
    currencies.source_relation,
    currencies.currency,
    reporting.rate_date,
    reporting.recorded_on,
    null as own_units,
    reporting.home_units as reporting_units
  from since_ever as reporting
  inner join context on reporting.currency = context.currency
  inner join (select source_relation, currency from vendor_rates group by source_relation, currency) as currencies
    on reporting.source_relation = currencies.source_relation
),

told as (
  select
    source_relation,
    currency,
    rate_date,
    recorded_on,
    max(own_units) as own_units,
    max(reporting_units) as reporting_units
  from legs
  group by source_relation, currency, rate_date, recorded_on
),

carried_forward as (
  select
    source_relation,
    currency,
    rate_date,
    recorded_on,
    {{ carried('own_units', 'so_far') }} as own_units,
    {{ carried('reporting_units', 'so_far') }} as reporting_units
  from told
  window so_far as (
    partition by source_relation, currency
    order by rate_date, recorded_on
    rows between unbounded preceding and current row
  )
),

-- where two CRMs know a currency, the first by name tells it
tellers as (
  select
    told.currency,
    min(told.source_relation) as source_relation
  from carried_forward as told
  left join (select upper(currency) as currency from own_rates group by upper(currency)) as own_currencies
    on told.currency = own_currencies.currency
  where own_currencies.currency is null
    and told.own_units / told.reporting_units is not null
  group by told.currency
),

final as (
  select * from own_rates
  union all
  select
    carried_forward.source_relation,
    carried_forward.currency,
    carried_forward.rate_date,
    carried_forward.own_units / carried_forward.reporting_units as rate,
    carried_forward.recorded_on
  from carried_forward
  inner join tellers
    on carried_forward.source_relation = tellers.source_relation
      and carried_forward.currency = tellers.currency
  where carried_forward.own_units / carried_forward.reporting_units is not null
)

select * from final
