-- Salesforce tells how many units of a currency one unit of the corporate currency buys: the other way round than a
-- rate. Where a currency has dated rates, its undated one is not used.
with undated as (
  select
    source_relation,
    extracted_at,
    batch_id,
    upper(p.isocode) as currency,
    cast(coalesce(modified_at, extracted_at) as date) as rate_date,
    p.iscorporate = 'true' as is_corporate,
    {{ try_type(json_number_text('payload', 'ConversionRate'), 'double') }} as corporate_buys
  from ({{ landed_salesforce('currencies', ['IsoCode', 'IsCorporate']) }}) as landed_currencies
),

dated as (
  select
    source_relation,
    extracted_at,
    batch_id,
    upper(p.isocode) as currency,
    {{ try_type('p.startdate', 'date') }} as rate_date,
    {{ try_type(json_number_text('payload', 'ConversionRate'), 'double') }} as corporate_buys
  from ({{ landed_salesforce('exchange_rates', ['IsoCode', 'StartDate']) }}) as landed_rates
),

rates as (
  select
    source_relation,
    extracted_at,
    batch_id,
    currency,
    rate_date,
    1 / nullif(corporate_buys, 0) as home_units
  from dated
  union all
  select
    undated.source_relation,
    undated.extracted_at,
    undated.batch_id,
    undated.currency,
    case when undated.is_corporate then date '1900-01-01' else undated.rate_date end as rate_date,
    case when undated.is_corporate then cast(1 as double) else 1 / nullif(undated.corporate_buys, 0) end as home_units
  from undated
  left join (select source_relation, currency from dated group by source_relation, currency) as with_dates
    on undated.source_relation = with_dates.source_relation
      and undated.currency = with_dates.currency
  where with_dates.currency is null
),

final as (
  {{ changed_rates('rates') }}
)

select * from final
