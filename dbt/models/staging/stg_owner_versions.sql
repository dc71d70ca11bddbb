-- What stg_owners keeps the newest of.
{{ config(materialized='view') }}
with final as (
  {{ delivered_owners() }}
)

select * from final
where owner_id is not null
