"""The same questions answered by SQL over Tryton's own history table.

Written from the papers, not from our models. `sale_opportunity__history` is copied as text into a database in
memory. Of the rows that one transaction wrote for a deal the last one counts, as in Tryton's own reads of the
past; a row without a state is a deletion.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any

import duckdb

COLUMNS = (
    "__id", "id", "create_date", "write_date", "create_uid", "write_uid", "state", "amount", "currency",
    "employee", "end_date", "conversion_probability", "party",
)  # fmt: skip

VERSIONS = """
create view versions as
with numbered as (
  select
    cast(id as varchar) as deal_id,
    cast(coalesce(write_date, create_date) as timestamp) as changed_at,
    coalesce(write_uid, create_uid) as user_id,
    state, amount, employee, end_date, conversion_probability,
    cast(create_date as timestamp) as created_at,
    row_number() over (
      partition by id, coalesce(write_date, create_date) order by cast(__id as bigint) desc
    ) as newest
  from history
)
select * from numbered where newest = 1;

create view deletions as select deal_id, changed_at from versions where state is null;

-- a cleared amount, date or employee is "not told": the one known before stays
create view told as
select
  deal_id, changed_at, state, created_at, user_id,
  last_value(amount ignore nulls) over so_far as amount,
  last_value(employee ignore nulls) over so_far as employee,
  last_value(end_date ignore nulls) over so_far as end_date,
  last_value(conversion_probability ignore nulls) over so_far as probability,
  lag(state) over so_far as from_state
from versions
where state is not null
window so_far as (partition by deal_id order by changed_at);

create view moves as
select
  told.*,
  cast(timezone('Europe/Amsterdam', timezone('UTC', changed_at)) as date) as day,
  case state when 'lead' then 1 when 'opportunity' then 2 when 'converted' then 3 end as rank,
  case from_state when 'lead' then 1 when 'opportunity' then 2 when 'converted' then 3 end as from_rank,
  coalesce(users.name, concat('user ', users.id)) as user_name
from told
join users on told.user_id = users.id
where from_state is null or state <> from_state;

-- a visit under a minute that goes back where it came from is a mis-drag, and so is the way back
create view visits as
with seen as (
  select
    *,
    coalesce(
      lead(state) over line = from_state
      and date_diff('microsecond', changed_at, lead(changed_at) over line) < 60000000,
      false
    ) as is_short
  from moves
  window line as (partition by deal_id order by changed_at)
),
kept as (
  select *, lag(state) over (partition by deal_id order by changed_at) as kept_before
  from seen
  where not is_short
)
select
  deal_id, changed_at, day, state, rank,
  row_number() over line as number,
  lead(state) over line as next_state,
  lead(rank) over line as next_rank,
  lead(day) over line as left_day
from kept
where kept_before is null or kept_before <> state
window line as (partition by deal_id order by changed_at);
"""

TRANSITIONS = """
select
  deal_id, changed_at, from_state, state,
  case
    when from_state is null then 'entry'
    when rank is null and from_rank is null then 'outcome_correction'
    when state = 'cancelled' then 'closed_other'
    when rank is null then state
    when from_rank is null then 'reopen'
    when rank < from_rank then 'backward'
    when rank > from_rank + 1 then 'skip'
    else 'forward'
  end,
  cast(amount as decimal(20, 3)), cast(end_date as date), cast(employee as varchar), user_name
from moves
where day <= $as_of
order by all
"""

# Won at the end of the day: from the business day of the creation to the end date that Tryton wrote.
CYCLES = """
with last as (
  select deal_id, state, end_date, created_at
  from told
  where cast(timezone('Europe/Amsterdam', timezone('UTC', changed_at)) as date) <= $as_of
  qualify row_number() over (partition by deal_id order by changed_at desc) = 1
)
select
  deal_id,
  date_diff(
    'day', cast(timezone('Europe/Amsterdam', timezone('UTC', created_at)) as date), cast(end_date as date)
  )
from last
where state = 'won'
order by all
"""

# Of the deals that left a stage in the period: the last time that decided.
CONVERSION_NEXT = """
with exits as (
  select
    deal_id, state, number, left_day,
    case
      when next_state = 'won' or next_rank > rank then 'advanced'
      when next_state = 'lost' then 'lost'
    end as way
  from visits
  where rank is not null and left_day <= $as_of and deal_id not in (select deal_id from deletions)
),
by_period as (
  select 'all' as period, * from exits
  union all
  select strftime(left_day, '%Y-%m'), * from exits
),
decided as (
  select period, deal_id, state, max_by(way, number) filter (where way is not null) as way
  from by_period group by all
)
select period, state, count(*) filter (where way = 'advanced'), count(*) filter (where way is not null)
from decided group by period, state order by all
"""

# Of the deals that first came to a stage in the period: those that later got higher, a win included.
CONVERSION_COHORT = """
with touched as (
  select deal_id, state, rank, min(number) as number, min_by(day, number) as day
  from visits
  where rank is not null and day <= $as_of and deal_id not in (select deal_id from deletions)
  group by deal_id, state, rank
),
followed as (
  select
    touched.*,
    exists (
      from visits as later
      where later.deal_id = touched.deal_id and later.number > touched.number and later.day <= $as_of
        and (later.state = 'won' or later.rank > touched.rank)
    ) as is_above
  from touched
),
by_period as (
  select 'all' as period, * from followed
  union all
  select strftime(day, '%Y-%m'), * from followed
)
select period, state, count(*) filter (where is_above), count(*)
from by_period group by period, state order by all
"""

LIVING = """
select deal_id, state
from versions
where cast(timezone('Europe/Amsterdam', timezone('UTC', changed_at)) as date) <= $as_of
qualify row_number() over (partition by deal_id order by changed_at desc) = 1
order by all
"""


class Truth:
    """Tryton's history in a database of its own, and answers from it as of the end of a business day."""

    def __init__(self, history: Sequence[dict[str, Any]], users: Sequence[dict[str, Any]]) -> None:
        self._connection = duckdb.connect()
        columns = ", ".join(f"{name} varchar" for name in COLUMNS)
        self._connection.execute(f"create table history ({columns})")
        marks = ", ".join("?" * len(COLUMNS))
        rows = [[_text(row[name]) for name in COLUMNS] for row in history]
        self._connection.executemany(f"insert into history values ({marks})", rows)
        self._connection.execute("create table users (id varchar, name varchar)")
        names = [[_text(user["id"]), user["name"]] for user in users]
        self._connection.executemany("insert into users values (?, ?)", names)
        self._connection.execute(VERSIONS)

    def answer(self, question: str, as_of: date | None = None) -> list[tuple[Any, ...]]:
        """Rows of one of the questions above, or of any other SQL over its views."""
        parameters = {"as_of": as_of} if as_of else {}
        return self._connection.execute(question, parameters).fetchall()


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
