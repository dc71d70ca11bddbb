-- One row per version of a deal that Tryton's history tells. A version has all values; one that is blank is "not told"
-- to the ledger, so a cleared amount or date keeps its last known value.
{%- set values = ['state', 'amount', 'currency', 'employee', 'end_date', 'conversion_probability', 'create_uid', 'write_uid'] %}
with landed_rows as (
  select
    source_relation,
    record_id,
    modified_at,
    extracted_at,
    is_initial_load,
    {{ json_struct('payload', ['deal', 'user', 'values']) }} as p
  from {{ source('landing_tryton', 'stage_history') }}
),

-- the version of a deletion has no values: the deal's own tombstone tells of it
versions as (
  select
    *,
    {{ json_struct('p."values"', values) }} as v
  from landed_rows
  where p."values" is not null
),

currencies as (
  {{ tryton_currencies() }}
),

final as (
  select
    versions.source_relation,
    versions.p.deal as deal_id,
    versions.modified_at as event_at,
    versions.v.state as stage_id,
    cast(null as {{ dbt.type_string() }}) as from_stage_id,
    'default' as pipeline_id,
    cast(null as {{ dbt.type_string() }}) as from_pipeline_id,
    {{ try_type(json_at('versions.v.amount', ['decimal']), 'decimal(20, 3)') }} as amount_native,
    upper(currencies.currency) as currency,
    {{ typed_date(typed_parts('versions.v.end_date')) }} as close_date,
    versions.v.employee as owner_id,
    cast(null as {{ dbt.type_string() }}) as status,
    cast(null as {{ dbt.type_string() }}) as forecast_category,
    {{ try_type('versions.v.conversion_probability', 'double') }} as probability,
    cast(null as bigint) as sequence_number,
    versions.record_id as source_event_id,
    coalesce(versions.p."user", concat('user ', coalesce(versions.v.write_uid, versions.v.create_uid))) as changed_by,
    'history' as change_source,
    'event' as time_precision,
    false as is_bulk_flagged,
    versions.extracted_at,
    versions.is_initial_load
  from versions
  left join currencies
    on versions.source_relation = currencies.source_relation
      and versions.v.currency = currencies.currency_id
)

select * from final
