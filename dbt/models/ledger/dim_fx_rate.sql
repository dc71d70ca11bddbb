with final as (
  select
    currency,
    valid_from_date,
    valid_to_date,
    rate
  from {{ ref('int_fx_rates') }}
)

select * from final
