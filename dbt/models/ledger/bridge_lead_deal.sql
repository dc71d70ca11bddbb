-- Which leads became which deals. A deal that was merged away went on as the one that took it in, so its leads went there.
with recursive links as (
  select
    {{ lead_key('source_relation', 'lead_id') }} as lead_key,
    source_relation,
    lead_id,
    {{ hash_key(['source_relation', 'deal_id']) }} as told_deal_key,
    min(created_at) as lead_created_at
  from {{ ref('stg_leads') }}
  where deal_id is not null
  group by source_relation, lead_id, deal_id
),

-- twenty steps: a chain of merges that runs in a circle comes to an end
ways as (
  select
    lead_key,
    told_deal_key,
    told_deal_key as deal_key,
    0 as steps
  from links
  union all
  select
    ways.lead_key,
    ways.told_deal_key,
    {{ hash_key(['deals.source_relation', 'deals.merged_into_deal_id']) }} as deal_key,
    ways.steps + 1 as steps
  from ways
  inner join {{ ref('int_deals') }} as deals
    on ways.deal_key = deals.deal_key
      and deals.merged_into_deal_id is not null
      and ways.steps < 20
),

ends as (
  select
    lead_key,
    told_deal_key,
    deal_key,
    row_number() over (partition by lead_key, told_deal_key order by steps desc) as last_first
  from ways
),

pairs as (
  select
    links.lead_key,
    links.source_relation,
    links.lead_id,
    ends.deal_key,
    min(links.lead_created_at) as lead_created_at
  from links
  inner join ends
    on links.lead_key = ends.lead_key
      and links.told_deal_key = ends.told_deal_key
      and ends.last_first = 1
  group by links.lead_key, links.source_relation, links.lead_id, ends.deal_key
),

starts as (
  select
    deal_key,
    min(transitioned_at) as first_transitioned_at
  from {{ ref('fct_stage_transitions') }}
  where deal_key in (select deal_key from pairs)
  group by deal_key
),

-- a deal that the ledger does not know (yet) makes no path
final as (
  select
    pairs.lead_key,
    pairs.source_relation,
    pairs.lead_id,
    pairs.deal_key,
    deals.deal_id,
    coalesce(deals.created_at, starts.first_transitioned_at) as deal_started_at,
    case
      when deals.created_at is not null then 'deal_created'
      when starts.first_transitioned_at is not null then 'deal_first_stage'
    end as deal_start_basis,
    cast(row_number() over (
      partition by pairs.lead_key
      order by coalesce(deals.created_at, starts.first_transitioned_at) nulls last, pairs.deal_key
    ) as int) as deal_number,
    cast(row_number() over (
      partition by pairs.deal_key
      order by pairs.lead_created_at nulls last, pairs.lead_id
    ) as int) as lead_number
  from pairs
  inner join {{ ref('int_deals') }} as deals on pairs.deal_key = deals.deal_key
  left join starts on pairs.deal_key = starts.deal_key
)

select * from final
