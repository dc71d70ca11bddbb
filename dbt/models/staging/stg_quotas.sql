with rows_landed as (
  {{ landed_newest('quotas', ['period', 'segment_type', 'segment', 'amount', 'currency', 'recorded_on']) }}
),

final as (
  select distinct
    rows_landed.source_relation,
    rows_landed.p.period as period,
    rows_landed.p.segment_type as segment_type,
    rows_landed.p.segment as segment,
    {{ try_type('rows_landed.p.amount', 'decimal(20, 3)') }} as quota_native,
    rows_landed.p.currency as currency,
    {{ try_type('rows_landed.p.recorded_on', 'date') }} as recorded_on
  from rows_landed
)

select * from final
