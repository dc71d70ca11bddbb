"""The stages a source has told: how a stage is spelled, where it stands, and how it ends a deal."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import duckdb

from dagster_project.settings import FileSource, StageLine


@dataclass(frozen=True)
class KnownStage:
    """One stage: its id, its name, its pipeline (None: whatever pipeline) and its outcome."""

    stage_id: str
    name: str
    pipeline: str | None
    outcome: str | None


@dataclass(frozen=True)
class KnownStages:
    """All stages of a source; empty when it has told none."""

    stages: tuple[KnownStage, ...] = ()

    @classmethod
    def listed(cls, lines: Iterable[StageLine]) -> "KnownStages":
        """The stages of the configuration's list."""
        return cls(tuple(KnownStage(s.stage_id, s.name, s.pipeline, s.outcome) for s in lines))

    @classmethod
    def landed(cls, parts: Iterable[Path]) -> "KnownStages":
        """The stages in landed files, given their Parquet parts."""
        paths = [str(part) for part in parts]
        if not paths:
            return cls()
        with duckdb.connect() as connection:
            rows = connection.execute(
                "select distinct payload->>'stage_id', coalesce(payload->>'name', payload->>'stage_id'), "
                "payload->>'pipeline', payload->>'outcome' from read_parquet($1) order by all",
                [paths],
            ).fetchall()
        return cls(tuple(KnownStage(*row) for row in rows))

    @property
    def fingerprint(self) -> str:
        """Text that changes when the stages do."""
        rows = sorted([s.pipeline or "", s.stage_id, s.name, s.outcome or ""] for s in self.stages)
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]

    def create_tables(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Fill `stage_texts`: each spelling and its stage, per pipeline and, where it is clear, for any.

        `pipeline` is null in the rows that hold for any pipeline.
        """
        connection.execute(
            "create or replace temp table told "
            "(pipeline varchar, name varchar, stage_id varchar, outcome varchar)"
        )
        for stage in self.stages:
            for text in dict.fromkeys((stage.stage_id, stage.name)):
                connection.execute(
                    "insert into told values (plain_text($1), plain_text($2), $3, $4)",
                    [stage.pipeline, text, stage.stage_id, stage.outcome],
                )
        connection.execute(
            """
            create or replace temp table stage_texts as
            select pipeline, name, min(stage_id) as stage_id, max(outcome) as outcome
            from told
            where pipeline is not null
            group by pipeline, name
            having count(distinct stage_id) = 1
            union all
            select null, name, min(stage_id), case when count(distinct outcome) = 1 then min(outcome) end
            from told
            group by name
            having count(distinct stage_id) = 1
            """
        )


def line_to_paste(value: str, source: FileSource | None, deals: int) -> str:
    """The line of `stages:` that names an unknown stage, with the choices a person has to make."""
    order = 1 + max((s.order or 0 for s in source.stage_lines()), default=0) if source else 1
    name = json.dumps(value, ensure_ascii=False)
    return f"- {{name: {name}, order: {order}}}   # or outcome: won | lost | closed_other ({deals:,} rows)"
