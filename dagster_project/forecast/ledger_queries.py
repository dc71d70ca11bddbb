"""The only SQL of the forecast: intervals of deal versions become signed changes per day.

The cost and the result of a query do not depend on how many days are forecast, and the state at the end of
any day D is the sum of the changes up to D: a row that begins after D can never reach a forecast of D.
Money is in whole thousandths of the reporting currency, so that sums are exact in any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from dagster_project.forecast.fiscal_quarters import FiscalQuarters
from dagster_project.forecast.refused_fields import (
    AMOUNT_FIELD,
    CLOSE_DATE_FIELD,
    RefusedField,
    is_known_then,
)

THOUSANDTHS = 1000

CALENDAR = """
select
  date_day as calendar_day,
  quarter_index as quarter_number,
  quarter_label,
  is_business_day
from ledger.dim_date
order by date_day
"""

EVENT_DAYS = """
select distinct
  source_relation,
  valid_from_date as event_day
from ledger.fct_deal_versions
order by valid_from_date, source_relation
"""

STAGES = """
select
  stage_key,
  cast(probability as double) as probability
from ledger.dim_stage
order by stage_key
"""

# Visible at the end of a day: half-open dates, so a version that ends on its first day never is.
_OPEN_CHANGES = """
with open_spans as (
  select
    versions.stage_key,
    versions.valid_from_date,
    versions.valid_to_date,
    case when {close_date_is_known} then versions.close_date end as close_date,
    case
      when {amount_is_known} and versions.amount_base > 0
        then cast(versions.amount_base * 1000 as bigint)
    end as thousandths,
    case when {amount_is_known} then 1 else 0 end as is_trusted,
    case when versions.asof_quality = 'reconstructed' then 1 else 0 end as is_reconstructed
  from ledger.fct_deal_versions as versions
  where versions.status = 'open'
    and not versions.is_deleted
    and versions.merged_into_deal_id is null
    and versions.excluded_by is null
    and (versions.valid_to_date is null or versions.valid_to_date > versions.valid_from_date)
),

changes as (
  select valid_from_date as changed_on, 1 as sign, * from open_spans
  union all
  select valid_to_date as changed_on, -1 as sign, * from open_spans where valid_to_date is not null
)

select
  changes.changed_on,
  changes.stage_key,
  close_days.quarter_index as close_quarter,
  cast(sum(changes.sign) as bigint) as deals,
  cast(sum(case when changes.thousandths is null then 0 else changes.sign end) as bigint) as priced_deals,
  cast(sum(changes.sign * coalesce(changes.thousandths, 0)) as bigint) as thousandths,
  cast(sum(changes.sign * changes.is_trusted) as bigint) as trusted_deals,
  cast(sum(changes.sign * changes.is_reconstructed) as bigint) as reconstructed_deals
from changes
left join ledger.dim_date as close_days on changes.close_date = close_days.date_day
group by changes.changed_on, changes.stage_key, close_days.quarter_index
order by changes.changed_on, changes.stage_key, close_days.quarter_index nulls first
"""

BOOKING_CHANGES = """,

changes as (
  select visible_on, won_on, 1 as sign, thousandths from won_spans
  union all
  select hidden_on as visible_on, won_on, -1 as sign, thousandths from won_spans where hidden_on is not null
),

summed as (
  select
    visible_on,
    won_on,
    cast(sum(sign) as bigint) as deals,
    cast(sum(case when thousandths is null then 0 else sign end) as bigint) as priced_deals,
    cast(sum(sign * coalesce(thousandths, 0)) as bigint) as thousandths
  from changes
  group by visible_on, won_on
)

select * from summed
where deals <> 0 or priced_deals <> 0 or thousandths <> 0
order by won_on, visible_on
"""

CYCLES = """
with numbered_days as (
  select date_day, row_number() over (order by date_day) as day_number
  from ledger.dim_date
),

entered as (
  select deal_key, business_date
  from ledger.fct_stage_transitions
  where transition_number = 1 and to_status <> 'won'
),

won as (
  select deal_key, min(business_date) as won_on
  from ledger.fct_stage_transitions
  where to_status = 'won' and excluded_by is null
  group by deal_key
)

select
  won.won_on,
  cast(count(*) as bigint) as deals,
  cast(sum(last_days.day_number - first_days.day_number) as bigint) as days
from won
inner join entered on won.deal_key = entered.deal_key
inner join numbered_days as first_days on entered.business_date = first_days.date_day
inner join numbered_days as last_days on won.won_on = last_days.date_day
group by won.won_on
order by won.won_on
"""


def open_changes_sql(refused: Sequence[RefusedField] = ()) -> str:
    """Changes of the open book per day, stage and close quarter (`Evidence.open_changes`)."""
    return _OPEN_CHANGES.format(
        amount_is_known=is_known_then(AMOUNT_FIELD, refused),
        close_date_is_known=is_known_then(CLOSE_DATE_FIELD, refused),
    )


def won_spans_sql(dates_won: str) -> str:
    """The start of a query: when each won deal is a booking, of which day, of how much.

    One row of `won_spans` per won version that some day's end sees. A booking is dated by the close date the
    version carries or by the event (`dates_won`), appears when it is both recorded and due, and disappears
    when the deal is reopened, corrected, deleted or merged. Its money is converted at the rate of the day it
    is dated, as in `fct_deals`; without a rate it has none.
    """
    won_on = "became_won.business_date"
    if dates_won == "close_date":
        won_on = f"coalesce(versions.close_date, {won_on})"
    return WON_SPANS.format(won_on=won_on)


WON_SPANS = """
with became_won as (
  select
    deal_key,
    transitioned_at,
    business_date,
    lead(transitioned_at) over (
      partition by deal_key order by transitioned_at, transition_number
    ) as next_won_at
  from ledger.fct_stage_transitions
  where to_status = 'won' and coalesce(from_status, 'none') <> 'won'
),

won_versions as (
  select
    versions.deal_key,
    versions.credit_owner_key,
    versions.pipeline_key,
    versions.amount_native,
    versions.currency,
    versions.valid_from_date,
    versions.valid_to_date as hidden_on,
    {won_on} as won_on
  from ledger.fct_deal_versions as versions
  inner join became_won
    on versions.deal_key = became_won.deal_key
    and versions.valid_from_at >= became_won.transitioned_at
    and (became_won.next_won_at is null or versions.valid_from_at < became_won.next_won_at)
  where versions.status = 'won'
    and not versions.is_deleted
    and versions.merged_into_deal_id is null
    and versions.excluded_by is null
),

won_spans as (
  select
    won_versions.deal_key,
    won_versions.credit_owner_key,
    won_versions.pipeline_key,
    won_versions.won_on,
    won_versions.hidden_on,
    greatest(won_versions.valid_from_date, won_versions.won_on) as visible_on,
    cast(cast(won_versions.amount_native * rates.rate as decimal(20, 3)) * 1000 as bigint) as thousandths
  from won_versions
  left join ledger.int_fx_rates as rates
    on won_versions.currency = rates.currency
    and won_versions.won_on >= rates.valid_from_date
    and won_versions.won_on < rates.valid_to_date
  where won_versions.hidden_on is null
    or won_versions.hidden_on > greatest(won_versions.valid_from_date, won_versions.won_on)
)"""


def won_from_open_sql(quarters: FiscalQuarters, through: date) -> str:
    """The end of a query on `won_spans`: bookings of each quarter completed by `through`, by origin.

    A deal counts for a quarter when it is a booking of that quarter on the day the quarter's bookings are
    final; every stage and day in which it was open before then gets its final amount.
    """
    completed = quarters.quarters[: quarters.completed_by(through)]
    rows = "\n  union all ".join(
        f"select {quarter.number} as quarter_number, date '{quarter.starts_on}' as starts_on, "
        f"date '{quarter.ends_on}' as ends_on, date '{quarter.known_on}' as known_on"
        for quarter in completed
    )
    if not rows:
        day = quarters.first_day
        rows = (
            f"select 0 as quarter_number, date '{day}' as starts_on, date '{day}' as ends_on, "
            f"date '{day}' as known_on where 1 = 0"
        )
    return WON_FROM_OPEN.format(completed=rows)


WON_FROM_OPEN = """,

completed as (
  {completed}
),

booked as (
  select won_spans.deal_key, completed.quarter_number, completed.ends_on, won_spans.thousandths
  from won_spans
  inner join completed on won_spans.won_on between completed.starts_on and completed.ends_on
  where won_spans.visible_on <= completed.known_on
    and (won_spans.hidden_on is null or won_spans.hidden_on > completed.known_on)
),

been_open as (
  select
    booked.quarter_number,
    booked.thousandths,
    versions.stage_key,
    versions.valid_from_date,
    versions.valid_to_date
  from booked
  inner join ledger.fct_deal_versions as versions on booked.deal_key = versions.deal_key
  where versions.status = 'open'
    and not versions.is_deleted
    and versions.merged_into_deal_id is null
    and versions.excluded_by is null
    and versions.valid_from_date <= booked.ends_on
    and (versions.valid_to_date is null or versions.valid_to_date > versions.valid_from_date)
),

changes as (
  select valid_from_date as changed_on, 1 as sign, * from been_open
  union all
  select valid_to_date as changed_on, -1 as sign, * from been_open where valid_to_date is not null
)

select
  quarter_number,
  stage_key,
  changed_on,
  cast(sum(sign) as bigint) as deals,
  cast(sum(sign * coalesce(thousandths, 0)) as bigint) as thousandths
from changes
group by quarter_number, stage_key, changed_on
order by quarter_number, changed_on, stage_key
"""
