-- Revenue splits add up to the amount of the deal; all others, such as overlay, come on top of it.
with splits as (
  {{ landed_salesforce_newest('deal_splits', ['OpportunityId', 'SplitOwnerId', 'SplitPercentage', 'SplitTypeId']) }}
),

kinds as (
  {{ landed_salesforce_newest('split_types', ['DeveloperName', 'IsTotalValidated', 'SplitField']) }}
),

final as (
  select
    splits.source_relation,
    splits.record_id as split_id,
    splits.p.opportunityid as deal_id,
    splits.p.splitownerid as owner_id,
    cast({{ try_type('splits.p.splitpercentage', 'decimal(20, 8)') }} / 100 as decimal(12, 8)) as share,
    {{ try_type(json_number_text('splits.payload', 'SplitAmount'), 'decimal(20, 3)') }} as amount_native,
    case
      when kinds.p.istotalvalidated = 'true'
        and coalesce(kinds.p.splitfield, 'Amount') in ('Amount', 'Opportunity.Amount')
        then 'revenue'
      else 'overlay'
    end as split_type
  from splits
  left join kinds
    on splits.source_relation = kinds.source_relation
      and splits.p.splittypeid = kinds.record_id
  where not splits.is_deleted
)

select * from final
