-- Why this build makes every deal of the ledger anew; empty in a common night.
with common_inputs as (
  select input, item, digest
  from {{ ref('int_ledger_inputs') }}
  where input <> 'deal'
),

applied as (
  select input, item, digest
  from ({{ applied_inputs() }})
  where input in ('told fields', 'stages', 'settings', 'code')
),

final as (
  {%- for reason in reasons_to_rebuild() %}
  select '{{ reason }}' as reason
  union all
  {%- endfor %}
  select concat('changed: ', coalesce(common_inputs.input, applied.input)) as reason
  from common_inputs
  full outer join applied
    on common_inputs.input = applied.input
      and common_inputs.item = applied.item
  where not coalesce(common_inputs.digest = applied.digest, false)
  group by coalesce(common_inputs.input, applied.input)
)

select * from final
