-- Every owner has a team, if only "(none)": so the none member comes with the owners.
with final as (
  select
    team_key,
    max(team) as team,
    max(manager) as manager,
    max(region) as region,
    count(case when owner_id <> '(none)' then 1 end) as owners
  from {{ ref('dim_owner') }}
  group by team_key
)

select * from final
