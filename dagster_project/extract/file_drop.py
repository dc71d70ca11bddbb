"""Has a new file arrived? Answered from names, sizes and times alone, many times an hour."""

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path

from dagster_project.extract.files.arrivals import Look, ends_in_the_middle, looks
from dagster_project.extract.landing import Landing
from dagster_project.settings import Settings

# A file that has not changed for so long is complete, also when it is seen for the first time.
QUIET_SECONDS = 60.0


@dataclass(frozen=True)
class NewFiles:
    """`fingerprint` of the new, complete files, None while there are none or one is still being written.

    `cursor` is to be handed to the next call: a file is complete when two calls see it alike.
    """

    fingerprint: str | None
    files: tuple[Path, ...]
    cursor: str


def new_files(settings: Settings, landing: Landing, cursor: str | None = None) -> NewFiles:
    """The files of all sources that the landing has not read; only the ends of Parquet files are opened."""
    sources = settings.file_sources()
    patterns = [table.path for source in sources for table in source.files().values()]
    read = {
        batch.manifest.origin.get("look")
        for source in sources
        for batch in landing.batches(source.name, "reads")
    }
    fresh = [look for look in dict.fromkeys(looks(patterns)) if look.key not in read]
    seen = set(json.loads(cursor)) if cursor else set()
    keys = sorted(look.key for look in fresh)
    complete = all(_is_complete(look, seen) for look in fresh)
    fingerprint = hashlib.sha256("\n".join(keys).encode()).hexdigest()[:20] if fresh and complete else None
    files = tuple(look.path for look in fresh) if fingerprint else ()
    return NewFiles(fingerprint, files, json.dumps(keys))


def _is_complete(look: Look, seen: set[str]) -> bool:
    quiet = time.time() - look.modified_ns / 1e9 >= QUIET_SECONDS
    return (quiet or look.key in seen) and not ends_in_the_middle(look.path)
