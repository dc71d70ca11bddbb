"""The contestant from a framework: dlt's REST source, as its guide has it, into DuckDB.

    .venv-dlt/bin/python tests/benchmark/extract/with_dlt.py <question.json> <folder>

It knows nothing of this repository, because it runs in an environment of its own, without telemetry.
"""

import json
import os
import sys
from pathlib import Path

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"

import dlt
from dlt.sources.rest_api import rest_api_source

DATABASE = "loaded.duckdb"


def main(question: str, folder: str) -> int:
    """Load deals in use and in the recycle bin; dlt makes a child table of each property's history."""
    asked = json.loads(Path(question).read_text(encoding="utf-8"))
    params = {
        "limit": 50,
        "properties": ",".join(asked["properties"]),
        "propertiesWithHistory": ",".join(asked["history"]),
        "associations": "0-2",
    }
    source = rest_api_source(
        {
            "client": {
                "base_url": asked["address"],
                "auth": {"type": "bearer", "token": asked["token"]},
                "paginator": {"type": "cursor", "cursor_path": "paging.next.after", "cursor_param": "after"},
            },
            "resources": [
                {
                    "name": f"deals_{archived}",
                    "table_name": "deals",
                    "endpoint": {
                        "path": asked["path"].lstrip("/"),
                        "params": {**params, "archived": archived},
                        "data_selector": "results",
                    },
                }
                for archived in ("false", "true")
            ],
        }
    )
    pipeline = dlt.pipeline(
        "benchmark",
        pipelines_dir=str(Path(folder) / "work"),
        destination=dlt.destinations.duckdb(str(Path(folder) / DATABASE)),
        dataset_name="crm",
    )
    pipeline.run(source)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
