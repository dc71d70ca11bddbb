-- Why this build makes the replaced marts whole; empty in a common night.
with common_inputs as (
  select input, item, digest
  from {{ ref('int_marts_inputs') }}
  where input not in ('deal', 'period')
),

applied as (
  select input, item, digest
  from ({{ applied_inputs() }})
  where input not in ('deal', 'period')
),

final as (
  {%- for reason in reasons_to_rebuild() %}
  select '{{ reason }}' as reason
  union all
  {%- endfor %}
  select
    case
      when coalesce(common_inputs.input, applied.input) = 'build' then 'the last build did not come to its end'
      else concat('changed: ', coalesce(common_inputs.input, applied.input))
    end as reason
  from common_inputs
  full outer join applied
    on common_inputs.input = applied.input
      and common_inputs.item = applied.item
  where not coalesce(common_inputs.digest = applied.digest, false)
  group by coalesce(common_inputs.input, applied.input)
)

select * from final
