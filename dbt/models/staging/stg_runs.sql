-- Which day each nightly run stood for, and what had landed by then: the source of known_on.
with final as (
  select
    run_id,
    run_order,
    run_kind,
    as_of,
    landed_through
  from {{ source('ops', 'run_context') }}
)

select * from final
