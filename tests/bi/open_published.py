"""Open a published file as a reader with an old or new DuckDB would, and print what was found as JSON.

Runs in the reader's own environment, so it imports nothing but duckdb: `python open_published.py <file>`.
"""

import json
import sys

import duckdb


def names(connection, kind):
    query = f"select {kind}_name from duckdb_{kind}s() where not internal order by 1"
    return [name for (name,) in connection.execute(query).fetchall()]


def main(path):
    connection = duckdb.connect(path, read_only=True)
    tables, views = names(connection, "table"), names(connection, "view")
    rows = {}
    for relation in [*tables, *views]:
        (rows[relation],) = connection.execute(f'select count(*) from "{relation}"').fetchall()[0]
        connection.execute(f'select * from "{relation}" limit 50').fetchall()
    without = connection.execute(
        "select count(*) from duckdb_columns() where not internal and comment is null"
    ).fetchall()[0][0]
    words = connection.execute(
        "select count(*) from (select comment from duckdb_tables() where not internal union all "
        "select comment from duckdb_views() where not internal) where comment is null"
    ).fetchall()[0][0]
    day = "(select max(as_of) from _publish)"
    as_of = connection.execute(
        f"select count(*), sum(open_amount)::varchar from pipeline_as_of({day})"
    ).fetchall()[0]
    print(
        json.dumps(
            {
                "version": duckdb.__version__,
                "tables": len(tables),
                "views": len(views),
                "rows": rows,
                "columns_without_words": without,
                "relations_without_words": words,
                "pipeline_as_of": as_of,
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1])
