"""Rows of purged records in a file that still has them: they are counted, and nothing quotes them.

The landing leaves them out of its batches; here they are kept out of what manifests, metadata and checks show
of a file. Whose a row is that cannot be told apart into values, nobody knows: once any record was purged,
such rows are told by line and reason alone.
"""

from dagster_project.extract.files.scratch import FileScratch
from dagster_project.extract.purged import PurgeList, RecordName, record_field
from dagster_project.owner_emails import OwnerEmails

_KEYS_AT_ONCE = 50_000


def leave_out_purged(
    scratch: FileScratch, purged: PurgeList, source: str, emails: OwnerEmails | None
) -> None:
    """Create the table `purged_lines` (line) and, of a judged file, the view `told_rejects`.

    `told_rejects` (line, problem, key, record): the refused rows that may be quoted; `record` is the id of
    the record that a row belongs to, where the row names it. `emails`: how the landing names addresses.
    """
    scratch.connection.execute("create or replace temp table purged_lines (line bigint)")
    about, field = record_field(scratch.entity.name) or ("", "")
    known = bool(about) and scratch.has(field)
    record = f'case when rejected.problem."column" is not null then typed.f_{field} end' if known else "null"
    problem = "rejected.problem"
    if purged and about:
        if known:
            _find_purged_lines(scratch, field, purged, RecordName(source, about, ""), emails)
        problem = f"""
            case when {record} is not null then rejected.problem else struct_pack(
                "column" := rejected.problem."column", "value" := null::varchar,
                reason := rejected.problem.reason, hint := null::varchar
            ) end"""
    scratch.connection.execute(
        f"""
        create or replace temp view told_rejects as
        select rejected.line, {problem} as problem, rejected.key, ({record})::varchar as record
        from rejected
        join typed on typed.line = rejected.line
        where rejected.line not in (select line from purged_lines)
        """
    )


def _find_purged_lines(
    scratch: FileScratch, field: str, purged: PurgeList, whose: RecordName, emails: OwnerEmails | None
) -> None:
    def is_purged(key: str) -> bool:
        return purged.has(RecordName(whose.source, whose.kind, emails.text(key) if emails else key))

    found: list[str] = []
    rows = scratch.connection.execute(f"select distinct f_{field} from typed where f_{field} is not null")
    while chunk := rows.fetchmany(_KEYS_AT_ONCE):
        found += [key for (key,) in chunk if is_purged(key)]
    for key in found:
        scratch.connection.execute(
            f"insert into purged_lines select line from typed where f_{field} = $1", [key]
        )
