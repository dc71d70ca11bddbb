"""The contestants that an analyst would write: requests, json and pandas, every deal with its history.

    python -m tests.benchmark.extract.plainly <style> <question.json> <folder>

No pace, no retry, no checkpoint: two Parquet files, one row per deal and one row per value that it had.
Style "loops" builds the rows by hand, "normalize" leaves them to `pandas.json_normalize`.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import requests

DEALS = "deals.parquet"
HISTORY = "history.parquet"
INSTANTS = ("createdate", "closedate", "hs_lastmodifieddate", "archived_at")


def read(asked: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All deals, in use and in the recycle bin, in as few requests as HubSpot allows."""
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {asked['token']}"
    deals: list[dict[str, Any]] = []
    for archived in ("false", "true"):
        params = {
            "limit": 50,
            "archived": archived,
            "properties": ",".join(asked["properties"]),
            "propertiesWithHistory": ",".join(asked["history"]),
            "associations": "0-2",
        }
        while True:
            response = session.get(asked["address"] + asked["path"], params=params, timeout=60)
            response.raise_for_status()
            page = response.json()
            deals += page["results"]
            if "paging" not in page:
                break
            params["after"] = page["paging"]["next"]["after"]
    return deals


def by_loops(found: list[dict[str, Any]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Deals and values, row by row."""
    deals, history = [], []
    for deal in found:
        companies = deal.get("associations", {}).get("companies", {}).get("results", [])
        deals.append(
            {
                **deal["properties"],
                "id": deal["id"],
                "archived": deal["archived"],
                "archived_at": deal.get("archivedAt"),
                "company_id": companies[0]["id"] if companies else None,
            }
        )
        for name, items in deal["propertiesWithHistory"].items():
            for item in items:
                history.append({"id": deal["id"], "property": name, **item})
    return pd.DataFrame(deals), pd.DataFrame(history)


def by_normalize(found: list[dict[str, Any]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Deals and values, as pandas flattens nested JSON."""
    parts = []
    for name in found[0]["propertiesWithHistory"]:
        part = pd.json_normalize(found, record_path=["propertiesWithHistory", name], meta=["id"])
        part["property"] = name
        parts.append(part)
    deals = pd.json_normalize([{**deal, "propertiesWithHistory": None} for deal in found])
    deals.columns = [name.removeprefix("properties.") for name in deals.columns]
    return deals.rename(columns={"archivedAt": "archived_at"}), pd.concat(parts)


STYLES = {"loops": by_loops, "normalize": by_normalize}


def main(style: str, question: str, folder: str) -> int:
    """Read everything, give columns their types, and write both files."""
    asked = json.loads(Path(question).read_text(encoding="utf-8"))
    deals, history = STYLES[style](read(asked))
    deals["amount"] = pd.to_numeric(deals["amount"])
    for name in INSTANTS:
        deals[name] = pd.to_datetime(deals[name], utc=True, format="ISO8601")
    history["timestamp"] = pd.to_datetime(history["timestamp"], utc=True, format="ISO8601")
    deals.to_parquet(Path(folder) / DEALS)
    history.to_parquet(Path(folder) / HISTORY)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
