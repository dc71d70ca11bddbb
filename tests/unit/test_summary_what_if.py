"""The line of the summary that names a scenario."""

from datetime import date

import duckdb

from dagster_project.cli.summary import what_if

DAY = date(2026, 5, 15)


def test_the_scenario_that_changes_this_quarter_and_the_next_most_is_named_by_its_live_rows() -> None:
    connection = duckdb.connect()
    assert list(what_if(connection, "EUR", DAY)) == []
    connection.execute(
        "create table forecast_scenarios (as_of date, kind varchar, scenario varchar, period varchar, "
        "quarter_offset int, with_amount decimal(38,3), difference_amount decimal(38,3))"
    )
    assert list(what_if(connection, "EUR", DAY)) == []
    connection.execute(
        """
        insert into forecast_scenarios values
          ('2026-05-15', 'live', 'slips', '2026Q2', 0, 900000, -300000),
          ('2026-05-15', 'live', 'slips', '2026Q3', 1, 2500000, 200000),
          ('2026-05-15', 'live', 'more', '2026Q2', 0, 1300000, 100000),
          ('2026-05-15', 'live', 'more', '2026Q3', 1, 2400000, 100000),
          ('2026-05-15', 'live', 'more', '2026Q4', 2, 9900000, 9000000),
          ('2026-05-15', 'backfill', 'more', '2026Q2', 0, 9900000, 9000000),
          ('2026-05-14', 'live', 'more', '2026Q2', 0, 9900000, 9000000)
        """
    )
    (line,) = what_if(connection, "EUR", DAY)
    assert line.split(maxsplit=2)[2] == (
        "slips: 2026Q2 EUR 900 thousand (-EUR 300 thousand), 2026Q3 EUR 2.50 million (+EUR 200 thousand)"
    )
