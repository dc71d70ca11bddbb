"""SQL that says who deals belonged to on a day, and sums their measures by segment."""

from __future__ import annotations

from collections.abc import Sequence

from dagster_project.forecast.shared_sql import shared_sql

OWNER, TEAM, REGION, PIPELINE, PRODUCT = "owner", "team", "region", "pipeline", "product"
SEGMENT_TYPES = (OWNER, TEAM, REGION, PIPELINE, PRODUCT)
"""Owners come with their team; the team is the sum of its owners, and the others stand for themselves."""


def number_of_deal(relation: str) -> str:
    """A number for a deal inside of one query: joins on it cost less than on keys."""
    return shared_sql("row_hash", [f"{relation}.deal_key"])


def owners_on() -> str:
    """CTE `owners_on`: owners as the nightly run of each day had been told; on the newest day, all that is
    known."""
    none = shared_sql("none_key")
    return f"""told_until as (
  select
    asked.as_of,
    case
      when asked.as_of >= context.as_of then timestamp '9999-12-31 00:00:00'
      else coalesce(min(runs.landed_through), timestamp '9999-12-31 00:00:00')
    end as told_at
  from (select distinct as_of from days) as asked
  cross join staging.stg_run_context as context
  left join staging.stg_runs as runs on runs.run_kind = 'nightly' and runs.as_of >= asked.as_of
  group by asked.as_of, context.as_of
),

owners_on as (
  select
    told_until.as_of,
    owners.owner_key,
    owners.owner,
    owners.team,
    owners.region,
    case
      when owners.owner_key = {none} then false
      when owners.ended_on is not null then owners.ended_on <= told_until.as_of
      else not owners.is_active
    end as has_left
  from told_until
  inner join ledger.dim_owner_history as owners
    on owners.valid_from_at <= told_until.told_at
      and (owners.valid_to_at is null or owners.valid_to_at > told_until.told_at)
)"""


def places() -> str:
    """CTE `places`: region of the deal and of its customer, as they are today."""
    return f"""places as (
  select
    {number_of_deal("deals")} as deal_hash,
    deals.region as deal_region,
    accounts.region as account_region
  from ledger.int_deals as deals
  left join ledger.dim_account as accounts
    on deals.source_relation = accounts.source_relation and deals.account_id = accounts.account_id
  where coalesce(deals.region, accounts.region) is not null
)"""


def products() -> str:
    """Where the pieces of a deal begin and end on a line as long as its amount: so they add up to it.

    Most deals have one product: no line is drawn for them.
    """
    return f"""pieces as (
  select {number_of_deal("deals")} as deal_hash, deals.segment, deals.is_counted, deals.amount_base
  from ledger.int_deal_segments as deals
  where deals.segment_type = 'product'
),

shared_deals as (
  select deal_hash from pieces group by deal_hash having count(*) > 1
),

products as (
  select
    pieces.deal_hash,
    pieces.segment,
    pieces.is_counted,
    cast(sum(pieces.amount_base) over line_of_deal - pieces.amount_base as double) as piece_from,
    cast(sum(pieces.amount_base) over line_of_deal as double) as piece_to,
    cast(sum(pieces.amount_base) over (partition by pieces.deal_hash) as double) as whole
  from pieces
  inner join shared_deals on pieces.deal_hash = shared_deals.deal_hash
  window line_of_deal as (partition by pieces.deal_hash order by pieces.segment rows unbounded preceding)
  union all
  select pieces.deal_hash, pieces.segment, pieces.is_counted, null, null, null
  from pieces
  left join shared_deals on pieces.deal_hash = shared_deals.deal_hash
  where shared_deals.deal_hash is null
)"""


def labelled(measures: Sequence[str]) -> str:
    """Deals that are alike as one row each, with the names of what they belong to."""
    region = shared_sql(
        "region_of",
        "context.segments_region_from",
        "alike.deal_region",
        "owners_on.region",
        "alike.account_region",
    )
    key = ("as_of", "quarter_number", "owner_key", "pipeline_key", "deal_region", "account_region")
    keys = ", ".join(key)
    return f"""alike as (
  select
    {keys},
    {", ".join(f"sum({measure}) as {measure}" for measure in measures)}
  from measured
  left join places on measured.deal_hash = places.deal_hash
  group by {keys}
),

labelled as (
  select
    alike.*,
    owners_on.owner,
    owners_on.team,
    owners_on.has_left,
    coalesce(pipelines.pipeline, '(none)') as pipeline,
    coalesce({region}, '(none)') as region
  from alike
  cross join staging.stg_run_context as context
  left join owners_on on alike.as_of = owners_on.as_of and alike.owner_key = owners_on.owner_key
  left join ledger.dim_pipeline as pipelines on alike.pipeline_key = pipelines.pipeline_key
)"""


def by_segment(
    measures: Sequence[str],
    counts: Sequence[str],
    doubles: Sequence[str] = (),
) -> str:
    """Sums of `measures` by owner, region, pipeline and product.

    Of the products of a deal its own one takes `counts`; the others are shared as its amount is.
    """
    keys = "as_of, quarter_number"

    def sums(values: dict[str, str]) -> str:
        return ", ".join(
            f"cast(sum({value}) as {'double' if name in doubles else 'bigint'}) as {name}"
            for name, value in values.items()
        )

    plain = sums({name: name for name in measures})
    whole = {*counts, *doubles}
    counted = "case when coalesce(products.is_counted, true) then measured.{} else 0 end"
    pieces = sums(
        {name: counted.format(name) if name in whole else _piece(f"measured.{name}") for name in measures}
    )
    parts = [
        f"""select {keys}, '{OWNER}' as segment_type, owner_key as unit, coalesce(owner, '(none)') as segment,
  coalesce(team, '(none)') as team, coalesce(has_left, false) as has_left, {plain}
from labelled
group by {keys}, owner_key, owner, team, has_left"""
    ]
    parts += [
        f"""select {keys}, '{kind}' as segment_type, {kind} as unit, {kind} as segment,
  '(none)' as team, false as has_left, {plain}
from labelled
group by {keys}, {kind}"""
        for kind in (REGION, PIPELINE)
    ]
    product = "coalesce(products.segment, '(none)')"
    parts.append(
        f"""select {keys}, '{PRODUCT}' as segment_type, {product} as unit, {product} as segment,
  '(none)' as team, false as has_left, {pieces}
from measured
left join products on measured.deal_hash = products.deal_hash
group by {keys}, {product}"""
    )
    return "\n" + "\nunion all\n".join(parts) + f"\norder by {keys}, segment_type, unit"


def _piece(value: str) -> str:
    """The product's piece of a deal's value, in whole thousandths; all of it where the deal has no amount."""
    return (
        f"case when products.whole is null or products.whole = 0 "
        f"then case when coalesce(products.is_counted, true) then {value} else 0 end "
        f"else round({value} * products.piece_to / products.whole) "
        f"- round({value} * products.piece_from / products.whole) end"
    )
