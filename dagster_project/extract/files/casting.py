"""Text to values: for each kind of field the SQL that makes its canonical text, and that says why not.

Canonical text: dates `YYYY-MM-DD`, instants UTC `YYYY-MM-DD HH:MM:SS[.ffffff]`, decimals `1234.5`, booleans
`true` and `false`, text without the blanks around it. An empty value is null. Dates are read as ISO unless
`date_order` says otherwise, or in words (31 Mar 2026); what could be read in two ways is refused, never
guessed. Years of two digits are those of this century.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import duckdb

from dagster_project.contract import Kind
from dagster_project.extract.files import money
from dagster_project.settings import Format

FIRST_YEAR, LAST_YEAR = 1980, 2199

_TURNED = {"dmy": r"\3-\2-\1", "mdy": r"\3-\1-\2"}
_LONG_YEAR = r"^(\d{1,2})[/.\-](\d{1,2})[/.\-](\d{4})"
_SHORT_YEAR = r"^(\d{1,2})[/.\-](\d{1,2})[/.\-](\d{2})\b"
_SERIAL = r"\d{5}([.,]\d+)?"
# The day before serial 1; a workbook of an old Mac counts from 1904.
_SERIAL_ZERO = {"1900": "1899-12-30", "1904": "1904-01-01"}

# Macros of the session that reads one file. Their arguments are columns, so no value of a file becomes SQL.
# A cast to timestamp takes a word at the end for a zone and drops it (PM, too), so it is not given any.
# `clean_cell` is `clean` for columns: trimming a set of signs costs four times as much as looking for one. It
# repeats its argument, so it is not for expressions.
# A naive local time that the clock skips in spring is moved forward by an hour; one that occurs twice in
# autumn is the later of the two (ICU's rule, tested).
_MACROS = r"""
create or replace temp macro clean(x) as
    nullif(trim(x, chr(32) || chr(9) || chr(10) || chr(13) || chr(160)), '');
create or replace temp macro clean_cell(x) as
    case
        when unicode(x) <= 32 or unicode(x) = 160 or x[-1] <= ' ' or x[-1] = chr(160) then clean(x)
        else x
    end;
create or replace temp macro month_number(x) as
    case when instr('janfebmaraprmayjunjulaugsepoctnovdec', lower(x)) % 3 = 1 then
        lpad(cast((instr('janfebmaraprmayjunjulaugsepoctnovdec', lower(x)) + 2) // 3 as varchar), 2, '0')
    end;
create or replace temp macro long_year(x) as case when length(x) = 2 then '20' || x else x end;
create or replace temp macro spelled(x, pattern, day, month) as
    long_year(regexp_extract(x, pattern, 3)) || '-' || month_number(regexp_extract(x, pattern, month)) || '-'
    || lpad(regexp_extract(x, pattern, day), 2, '0') || regexp_replace(x, pattern, '');
create or replace temp macro year_first(x) as
    case
        when x is null or (length(x) = 10 and x[5] = '-') then x
        when regexp_matches(x, '^\d{1,2}[ .-]+[A-Za-z]{3}')
            then spelled(x, '^(\d{1,2})[ .-]+([A-Za-z]{3})[a-z]*\.?,?[ -]+(\d{4}|\d{2})\b', 1, 2)
        when regexp_matches(x, '^[A-Za-z]{3}[a-z]*\.? \d')
            then spelled(x, '^([A-Za-z]{3})[a-z]*\.? (\d{1,2}),? (\d{4})\b', 2, 1)
        when regexp_full_match(x, '(19|20)\d{6}') then x[1:4] || '-' || x[5:6] || '-' || x[7:8]
        else regexp_replace(x, '^(\d{4})[/.](\d{1,2})[/.](\d{1,2})', '\1-\2-\3')
    end;
create or replace temp macro is_pure_date(x) as
    length(x) <= 10 and regexp_full_match(x, '\d{4}-\d{1,2}-\d{1,2}');
create or replace temp macro has_zone(x) as
    length(x) > 11 and regexp_matches(x, ':\d{2}(\.\d+)?\s?(Z|z|UTC|GMT|[+-]\d{2}(:?\d{2})?)$');
create or replace temp macro clock(x) as
    coalesce(
        case when x[5] = '-' and right(x, 1) < 'A' then try_cast(x as timestamp) end,
        try_strptime(replace(x, ',', ''), ['%Y-%m-%d %I:%M %p', '%Y-%m-%d %I:%M:%S %p'])
    );
create or replace temp macro zoned(x) as
    case when x[5] = '-' then
        try_cast(
            regexp_replace(regexp_replace(x, '\s?(Z|z|UTC|GMT)$', '+00:00'), '([+-]\d{2})(\d{2})$', '\1:\2')
            as timestamptz
        )
    end;
create or replace temp macro local_clock(x) as
    clock(regexp_replace(x, '\s?(Z|z|UTC|GMT|[+-]\d{2}(:?\d{2})?)$', ''));
create or replace temp macro instant_of(x, zone, business_zone) as
    timezone('UTC', case
        when is_pure_date(x) then timezone(business_zone, try_cast(x as timestamp))
        when has_zone(x) then zoned(x)
        else timezone(zone, clock(x))
    end);
create or replace temp macro day_of(x, zone, business_zone) as
    case
        when is_pure_date(x) then try_cast(x as date)
        when has_zone(x) then
            case
                when date_trunc('day', local_clock(x)) = local_clock(x) then cast(local_clock(x) as date)
                else cast(timezone(business_zone, zoned(x)) as date)
            end
        when date_trunc('day', clock(x)) = clock(x) then cast(clock(x) as date)
        else cast(timezone(business_zone, timezone(zone, clock(x))) as date)
    end;
create or replace temp macro in_range(x) as case when x between '1980' and '2200' then x end;
create or replace temp macro serial_text(x, zero) as
    case
        when contains(replace(x, ',', '.'), '.') then
            cast(cast(zero as timestamp)
                + to_seconds(cast(round(cast(replace(x, ',', '.') as double) * 86400) as bigint)) as varchar)
        else cast(cast(zero as date) + cast(x as int) as varchar)
    end;
create or replace temp macro decimal_text(x) as
    case when abs(try_cast(x as decimal(38, 9))) < 1e17 then
        rtrim(rtrim(cast(try_cast(x as decimal(38, 9)) as varchar), '0'), '.')
    end;
create or replace temp macro share_text(x) as case when cast(x as double) between 0 and 100 then x end;
create or replace temp macro flag_text(x) as
    case
        when lower(x) in ('true', 't', 'yes', 'y', '1') then 'true'
        when lower(x) in ('false', 'f', 'no', 'n', '0') then 'false'
    end;
create or replace temp macro label(x) as lower(regexp_replace(x, '[\s_-]+', '_', 'g'));
create or replace temp macro outcome_text(x) as
    case when x in ('open', 'won', 'lost', 'closed_other') then x end;
create or replace temp macro status_text(x) as
    case
        when x in ('open', 'won', 'lost', 'closed_other') then x
        when x in ('active', 'in_progress') then 'open'
        when x = 'closed_won' then 'won'
        when x = 'closed_lost' then 'lost'
        when x in ('abandoned', 'cancelled', 'canceled', 'suspended') then 'closed_other'
    end;
create or replace temp macro plain_text(x) as lower(regexp_replace(clean(x), '\s+', ' ', 'g'));
"""


@dataclass(frozen=True)
class Casting:
    """How the values of one table are written: its format and the two zones that decide instants and days.

    `statuses` names what the source's own words for the state of a deal mean. `serials` tells that bare
    numbers are Excel's dates, and which day they count from. `business_currency` decides what a symbol of
    several currencies ($, kr) means.
    """

    format: Format
    zone: str
    business_zone: str
    business_currency: str = ""
    serials: Literal["1900", "1904"] | None = None
    statuses: Mapping[str, str] = field(default_factory=dict)

    def prepare(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Create the macros and settings that the expressions need."""
        connection.execute("set timezone = 'UTC'")
        connection.execute(_MACROS)
        connection.execute(
            "create or replace temp table status_words as "
            "select label(unnest($1::varchar[])) as word, unnest($2::varchar[]) as status",
            [list(self.statuses), list(self.statuses.values())],
        )
        connection.execute(money.macros(self.business_currency))

    def prepared(self, kind: Kind, raw: str) -> str:
        """SQL for the form of the column `raw` (already clean) that `value` reads."""
        if kind == "decimal":
            return f"bare_amount({raw})"
        return self._dated(raw) if kind in ("date", "instant") else raw

    def value(self, kind: Kind, raw: str) -> str:
        """SQL for the canonical text of the column `raw`, which is prepared; null when it cannot be read."""
        zones = f"'{self.zone}', '{self.business_zone}'"
        expressions: dict[Kind, str] = {
            "text": raw,
            "decimal": f"decimal_text({self._number(raw)})",
            "integer": f"case when regexp_full_match({raw}, '[+-]?\\d+(\\.0+)?') then "
            f"cast(try_cast({raw} as bigint) as varchar) end",
            "probability": f"share_text(decimal_text(rtrim({self._number(raw)}, ' %')))",
            "date": f"cast(day_of({raw}, {zones}) as varchar)",
            "instant": f"cast(instant_of({raw}, {zones}) as varchar)",
            "boolean": f"flag_text({raw})",
            "outcome": f"outcome_text(label({raw}))",
            "status": f"coalesce({self._own_status(raw)}, status_text(label({raw})))",
            "category": f"label({raw})",
        }
        return expressions[kind]

    def checked(self, kind: Kind, value: str) -> str:
        """SQL for `value`, or null where it is out of range."""
        return f"in_range({value})" if kind in ("date", "instant") else value

    def is_percentage(self, raw: str) -> str:
        """SQL that tells whether a probability is written with a percent sign."""
        return f"contains({raw}, '%')"

    def could_be_thousands(self, raw: str) -> str:
        """SQL that tells whether a number, read with a decimal point, could be one with a thousands point."""
        if self.format.decimal is not None:
            return "false"
        return f"regexp_matches({raw}, '^\\D*[1-9]\\d{{0,2}}\\.\\d{{3}}\\D*$')"

    def is_day_only(self, prepared: str) -> str:
        """SQL that tells whether a prepared instant was given as a date alone."""
        return f"is_pure_date({prepared})"

    def reason(self, kind: Kind, raw: str) -> str:
        """SQL for why `raw` could not be read; evaluated for rejected rows only."""
        if kind in ("date", "instant"):
            undecided = (
                f"when regexp_matches({raw}, '^\\d{{1,2}}[/.-]\\d{{1,2}}[/.-]\\d{{2,4}}') "
                "then 'the order of day, month and year is not known' "
                if self.format.date_order is None
                else ""
            )
            serial = f"when regexp_full_match({raw}, '{_SERIAL}') then 'could be a day as Excel counts it' "
            shown = serial if self._serials is None else ""
            return (
                f"case {undecided}{shown}when day_of({self._dated(raw)}, 'UTC', 'UTC') is not null "
                f"then 'is a date outside {FIRST_YEAR} to {LAST_YEAR}' else 'is no date' end"
            )
        return {
            "decimal": f"case when contains({raw}, ',') and regexp_matches({raw}, '\\d') "
            f"then '{TWO_NUMBERS}' else 'is no number' end"
            if self.format.decimal is None
            else "'is no number'",
            "integer": "'is no whole number'",
            "probability": "'is no probability'",
            "boolean": "'is neither true nor false'",
            "outcome": "'is no outcome'",
        }.get(kind, "'cannot be read'")

    def hint(self, kind: Kind, raw: str) -> str:
        """SQL for the line that would mend the configuration, or what to change in the file; may be null."""
        if kind in ("date", "instant") and self.format.date_order is None:
            first = f"try_cast(regexp_extract({raw}, '^(\\d+)', 1) as int)"
            second = f"try_cast(regexp_extract({raw}, '^\\d+[/.-](\\d+)', 1) as int)"
            return (
                f"case when regexp_full_match({raw}, '{_SERIAL}') then 'format: {{date_order: serial}}' "
                f"when not regexp_matches({raw}, '^\\d{{1,2}}[/.-]\\d{{1,2}}[/.-]\\d{{2,4}}') then "
                "'write dates as 2026-03-31' "
                f"when {first} > 12 then 'format: {{date_order: dmy}}' "
                f"when {second} > 12 then 'format: {{date_order: mdy}}' "
                "else 'format: {date_order: dmy}, or {date_order: mdy}' end"
            )
        if kind in ("date", "instant"):
            return "'write dates as 2026-03-31'"
        if kind in ("decimal", "probability"):
            digits = "'write digits alone, such as 1234.50'"
            if self.format.decimal is None:
                return (
                    f"case when not contains({raw}, ',') or not regexp_matches({raw}, '\\d') then {digits} "
                    f"when regexp_matches({raw}, '\\.\\d{{3}},|,\\d{{1,2}}\\D*$|,\\d{{4}}') "
                    "then 'format: {decimal: \",\"}' "
                    f"when regexp_matches({raw}, ',\\d{{3}}[.,]') then 'format: {{decimal: \".\"}}' "
                    f"else '{DECIMAL_CHOICE}' end"
                )
            return digits
        if kind == "outcome":
            return "'write open, won, lost or closed_other'"
        return "cast(null as varchar)"

    def _own_status(self, raw: str) -> str:
        if not self.statuses:
            return "null"
        return f"(select any_value(status) from status_words where word = label({raw}))"

    def _number(self, raw: str) -> str:
        if self.format.decimal is None:
            return f"case when regexp_full_match({raw}, '{_PLAIN_NUMBER}') then {raw} end"
        point = "\\." if self.format.decimal == "." else ","
        grouping = f"[{',' if self.format.decimal == '.' else '.'}{_GROUPING}]"
        grouped = f"[+-]?\\d{{1,3}}({grouping}\\d{{3}})+({point}\\d+)?\\s?%?"
        simple = f"[+-]?(\\d+({point}\\d*)?|{point}\\d+)([eE][+-]?\\d+)?\\s?%?"
        return (
            f"case when regexp_full_match({raw}, '{simple}') or regexp_full_match({raw}, '{grouped}') "
            f"then replace(regexp_replace({raw}, '{grouping}', '', 'g'), ',', '.') end"
        )

    def _dated(self, raw: str) -> str:
        turned = raw
        if order := _TURNED.get(self.format.date_order or ""):
            long = f"regexp_replace({raw}, '{_LONG_YEAR}', '{order}')"
            turned = f"regexp_replace({long}, '{_SHORT_YEAR}', '20{order}')"
        if self._serials is None:
            return f"year_first({turned})"
        serial = f"serial_text({raw}, '{_SERIAL_ZERO[self._serials]}')"
        return f"case when regexp_full_match({raw}, '{_SERIAL}') then {serial} else year_first({turned}) end"

    @property
    def _serials(self) -> Literal["1900", "1904"] | None:
        return self.serials or ("1900" if self.format.date_order == "serial" else None)


TWO_NUMBERS = "is written in a way that can be read as two different numbers"
DECIMAL_CHOICE = 'format: {decimal: ","}, or {decimal: "."}'
# Blanks and apostrophes between groups of three digits.
_GROUPING = " ''\u2019\u00a0\u202f"
_PLAIN_NUMBER = "[+-]?(\\d+(\\.\\d*)?|\\.\\d+)([eE][+-]?\\d+)?\\s?%?"
