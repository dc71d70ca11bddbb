-- Who gets which share of a deal. What revenue splits leave of it, or take too much, is its owner's; overlay is not in it.
with deals as (
  select
    deal_key,
    source_relation,
    deal_id,
    credit_owner_key,
    amount_native
  from {{ ref('fct_deals') }}
),

splits as (
  select
    deals.deal_key,
    {{ hash_key(['splits.source_relation', 'coalesce(owners.member_id, splits.owner_id)']) }} as owner_key,
    coalesce(
      splits.share,
      -- a split's amount is a part of the CRM's amount, and of no other measure
      case when deals.amount_native <> 0 and coalesce(context.amount_measure, 'amount') = 'amount' then cast(splits.amount_native / deals.amount_native as decimal(12, 8)) end
    ) as share
  from {{ ref('stg_deal_splits') }} as splits
  cross join {{ ref('stg_run_context') }} as context
  inner join deals
    on splits.source_relation = deals.source_relation
      and splits.deal_id = deals.deal_id
  left join {{ ref('int_lookup') }} as owners
    on owners.entity = 'owner'
      and splits.source_relation = owners.source_relation
      and lower(trim(splits.owner_id)) = owners.lookup_text
  where splits.split_type = 'revenue' and splits.owner_id is not null
),

-- a window, and no group: DuckDB 2.0.0 was seen to take 0.5 + 0.5 <> 1 for true of the sum of a group
sums as (
  select
    deal_key,
    share
  from (
    select
      deal_key,
      sum(share) over (partition by deal_key) as share,
      row_number() over (partition by deal_key order by owner_key) as place
    from splits
  ) as numbered
  where place = 1
),

parts as (
  select
    deal_key,
    owner_key,
    share as split_share,
    cast(0 as decimal(12, 8)) as residual_share
  from splits
  where share is not null
  union all
  select
    deals.deal_key,
    deals.credit_owner_key as owner_key,
    cast(0 as decimal(12, 8)) as split_share,
    cast(1 - coalesce(sums.share, 0) as decimal(12, 8)) as residual_share
  from deals
  left join sums on deals.deal_key = sums.deal_key
  where coalesce(sums.share, 0) <> 1
),

final as (
  select
    deal_key,
    owner_key,
    cast(sum(split_share) + sum(residual_share) as decimal(12, 8)) as share,
    cast(sum(split_share) as decimal(12, 8)) as split_share,
    cast(sum(residual_share) as decimal(12, 8)) as residual_share,
    sum(split_share) <> 0 as is_split
  from parts
  group by deal_key, owner_key
)

select * from final
