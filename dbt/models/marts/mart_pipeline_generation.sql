with context as (
  select * from {{ ref('stg_run_context') }}
),

generated as (
  select * from {{ ref('int_generated_deals') }}
),

freezes as (
  select * from {{ ref('int_period_freezes') }}
),

sources as (
  select
    min(full_from_on) as first_full_from_on,
    max(full_from_on) as all_full_from_on
  from {{ ref('int_source_history') }}
),

bases as (
  select 'created' as basis
  union all
  select 'qualified' as basis
  from context
  where qualified_stage is not null
),

sums as (
  {%- for segment_type, segment in [
    ('total', "'all'"), ('owner', 'owner'), ('team', 'team'), ('pipeline', 'pipeline'), ('region', 'region')
  ] %}
  select
    basis,
    period_type,
    period,
    '{{ segment_type }}' as segment_type,
    {{ segment }} as segment,
    count(case when is_restated then 1 end) as deals_generated,
    count(case when is_restated and as_created_amount is null then 1 end) as deals_without_amount_as_created,
    count(case when is_restated and restated_amount is null then 1 end) as deals_without_amount,
    sum(case when is_restated then as_created_amount end) as as_created_amount,
    sum(case when is_restated then restated_amount end) as restated_amount,
    count(case when is_frozen then 1 end) as deals_frozen,
    sum(case when is_frozen then frozen_amount end) as frozen_amount
  from generated
  group by basis, period_type, period{{ ", " ~ segment if segment_type != 'total' }}
  union all
  {%- endfor %}
  select
    bases.basis,
    freezes.period_type,
    freezes.period,
    'total' as segment_type,
    'all' as segment,
    0 as deals_generated,
    0 as deals_without_amount_as_created,
    0 as deals_without_amount,
    null as as_created_amount,
    null as restated_amount,
    0 as deals_frozen,
    null as frozen_amount
  from freezes
  cross join bases
),

cells as (
  select
    basis,
    period_type,
    period,
    segment_type,
    segment,
    cast(sum(deals_generated) as bigint) as deals_generated,
    cast(sum(deals_without_amount_as_created) as bigint) as deals_without_amount_as_created,
    cast(sum(deals_without_amount) as bigint) as deals_without_amount,
    sum(as_created_amount) as as_created_amount,
    sum(restated_amount) as restated_amount,
    cast(sum(deals_frozen) as bigint) as deals_frozen,
    sum(frozen_amount) as frozen_amount
  from sums
  group by basis, period_type, period, segment_type, segment
),

final as (
  select
    cells.basis,
    cells.period_type,
    cells.period,
    freezes.period_start,
    freezes.period_end,
    freezes.is_complete_period,
    case
      when freezes.period_start >= sources.all_full_from_on then 'full'
      when freezes.period_start < sources.first_full_from_on then 'left_truncated'
      else 'partial'
    end as history_status,
    cells.segment_type,
    cells.segment,
    cells.deals_generated,
    cells.deals_without_amount_as_created,
    cells.deals_without_amount,
    -- nothing generated is zero; deals whose amounts nobody knows are not
    cast(coalesce(cells.as_created_amount, case when cells.deals_generated = 0 then 0 end) as decimal(38, 3)) as as_created_amount,
    case when freezes.is_frozen then freezes.frozen_on end as frozen_on,
    case when freezes.is_frozen then cells.deals_frozen end as deals_frozen,
    cast(case when freezes.is_frozen then coalesce(cells.frozen_amount, case when cells.deals_frozen = 0 then 0 end) end as decimal(38, 3)) as frozen_amount,
    cast(coalesce(cells.restated_amount, case when cells.deals_generated = 0 then 0 end) as decimal(38, 3)) as restated_amount,
    context.as_of,
    context.definition_version
  from cells
  cross join context
  cross join sources
  inner join freezes
    on cells.period_type = freezes.period_type
      and cells.period = freezes.period
)

select * from final
