-- HubSpot tells how many units of the company's currency one unit of another is worth, and from which day.
{%- set shape = {'fromCurrencyCode': '', 'toCurrencyCode': '', 'conversionRate': '', 'effectiveAt': ''} %}
with told as (
  select
    source_relation,
    extracted_at,
    batch_id,
    payload,
    {{ json_shape('payload', shape) }} as p
  from {{ source('landing_hubspot', 'exchange_rates') }}
),

rates as (
  select
    source_relation,
    extracted_at,
    batch_id,
    upper(p.fromcurrencycode) as currency,
    cast({{ told_instant('p.effectiveat') }} as date) as rate_date,
    {{ try_type(json_number_text('payload', 'conversionRate'), 'double') }} as home_units
  from told
  union all
  select
    source_relation,
    extracted_at,
    batch_id,
    upper(p.tocurrencycode) as currency,
    date '1900-01-01' as rate_date,
    cast(1 as double) as home_units
  from told
),

final as (
  {{ changed_rates('rates') }}
)

select * from final
