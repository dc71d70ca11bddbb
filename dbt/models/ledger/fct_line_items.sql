-- Lines of each deal; a residual row carries what the lines leave of the deal's amount, so the sum is the deal. Where the
-- amount is another money field of the deal (amount_measure), each line has the share of it that the line has of all.
with deals as (
  select * from {{ ref('fct_deals') }}
),

told as (
  select
    deals.deal_key,
    deals.source_relation,
    lines.line_item_id,
    lines.product_id,
    lines.quantity,
    lines.unit_price,
    lines.amount_native as line_amount,
    coalesce(lines.currency, deals.currency) as currency,
    coalesce(lines.currency, deals.currency) = deals.currency as is_in_deal_currency,
    deals.amount_native as deal_amount,
    deals.amount_base as deal_amount_base,
    coalesce(context.amount_measure, 'amount') <> 'amount' as is_shared
  from {{ ref('int_line_items') }} as lines
  cross join {{ ref('stg_run_context') }} as context
  inner join deals
    on lines.source_relation = deals.source_relation
      and lines.deal_id = deals.deal_id
),

shared as (
  select
    *,
    case
      when not is_shared then line_amount
      when is_in_deal_currency then cast(
          deal_amount * line_amount / nullif(sum(case when is_in_deal_currency then line_amount end) over (partition by deal_key), 0)
          as decimal(20, 3)
        )
    end as amount_native
  from told
),

lines as (
  select
    *,
    case
      when is_in_deal_currency and deal_amount <> 0
        then cast(amount_native * (deal_amount_base / deal_amount) as decimal(20, 3))
    end as amount_base
  from shared
),

sums as (
  select
    deal_key,
    sum(case when amount_base is not null then amount_native end) as lines_native,
    sum(amount_base) as lines_base
  from lines
  group by deal_key
),

final as (
  select
    {{ hash_key(['source_relation', 'line_item_id']) }} as line_item_key,
    deal_key,
    case
      when product_id is null then {{ none_key() }}
      else {{ hash_key(['source_relation', 'product_id']) }}
    end as product_key,
    quantity,
    unit_price,
    amount_native,
    currency,
    amount_base,
    false as is_residual
  from lines
  union all
  select
    {{ hash_key(['deals.deal_key', "'residual'"]) }} as line_item_key,
    deals.deal_key,
    case when sums.deal_key is null then deals.product_key else {{ none_key() }} end as product_key,
    null as quantity,
    null as unit_price,
    cast(deals.amount_native - coalesce(sums.lines_native, 0) as decimal(20, 3)) as amount_native,
    deals.currency,
    cast(deals.amount_base - coalesce(sums.lines_base, 0) as decimal(20, 3)) as amount_base,
    true as is_residual
  from deals
  left join sums on deals.deal_key = sums.deal_key
  where deals.amount_base is not null
    and deals.amount_base <> coalesce(sums.lines_base, 0)
)

select * from final
