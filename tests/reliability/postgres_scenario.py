"""A process that fills PostgreSQL from a published folder, and may die while it does.

`postgres_scenario.py <folder> <url> <schema> [<table>]`: with a table it kills itself when that table's turn
comes, in the middle of its transaction.
"""

import os
import signal
import sys
from pathlib import Path

from dagster_project.publish import postgres


def main(folder: str, url: str, schema: str, fatal_table: str = "") -> None:
    copy_rows = postgres._copy_rows

    def copy_or_die(connection, schema, source, relation):  # type: ignore[no-untyped-def]
        if relation.name == fatal_table:
            os.kill(os.getpid(), signal.SIGKILL)
        return copy_rows(connection, schema, source, relation)

    postgres._copy_rows = copy_or_die
    postgres.publish_postgres(Path(folder), url, schema)


if __name__ == "__main__":
    main(*sys.argv[1:])
