-- The states of an opportunity are Tryton's own, in its own order; a state that a module brought along is an open stage.
with told as (
  select
    source_relation,
    record_id as stage_id,
    extracted_at,
    batch_id,
    {{ json_struct('payload', ['place', 'label']) }} as p
  from {{ source('landing_tryton', 'stages') }}
),

newest as (
  select
    source_relation,
    stage_id,
    {{ last_value_by('p.label', ['extracted_at', 'batch_id'], 'p.label is not null') }} as stage_name,
    {{ last_value_by('p.place', ['extracted_at', 'batch_id'], 'p.place is not null') }} as place
  from told
  group by source_relation, stage_id
),

final as (
  select
    source_relation,
    'default' as pipeline_id,
    stage_id,
    stage_name,
    {{ try_type('place', 'double') }} as display_order,
    case stage_id
      when 'won' then 'won'
      when 'lost' then 'lost'
      when 'cancelled' then 'closed_other'
      else 'open'
    end as outcome,
    cast(null as double) as probability,
    cast(null as {{ dbt.type_string() }}) as forecast_category,
    timestamp '1900-01-01 00:00:00' as valid_from_at
  from newest
)

select * from final
