-- What sales performance counts: where a deal's clock starts, how it ended, and what is too uncertain to measure.
with deals as (
  select * from {{ ref('fct_deals') }}
  where not is_deleted and excluded_by is null
),

ended as (
  select
    *,
    case status
      when 'won' then won_on
      when 'lost' then lost_on
      when 'closed_other' then closed_on
    end as ended_on
  from deals
),

final as (
  select
    deal_key,
    source_relation,
    deal_id,
    coalesce(created_on, first_entered_on) as started_on,
    case
      when created_on is not null then 'created'
      when first_entered_on is not null then 'first_stage_entry'
    end as start_basis,
    -- a deal that ended after as_of is no booking yet, whatever its status says
    case when ended_on <= as_of and status <> 'open' then status end as outcome,
    case when ended_on <= as_of then ended_on end as outcome_on,
    is_import,
    case when ended_on <= as_of then sales_cycle_days end as cycle_days,
    case when ended_on <= as_of and sales_cycle_days is not null then cycle_start_basis end as cycle_start_basis,
    is_amount_missing,
    is_rate_missing
  from ended
)

select * from final
