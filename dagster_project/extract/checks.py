"""What is checked after an extraction: files readable, rows accounted for, few rejected, stages known."""

from collections.abc import Iterable, Sequence

import dagster as dg

from dagster_project.extract.files.results import ExtractResult, FileReport, Reject, UnknownValue

READABLE = "every_file_is_readable"
ADDS_UP = "every_row_is_accounted_for"
REJECTED = "few_rows_are_rejected"
STAGES_KNOWN = "every_stage_is_known"
REJECTED_SHARE = 0.01
_STAGE_ENTITIES = ("deals", "stage_history")
_SHOWN = 10


def check_specs(key: dg.AssetKey, entity: str) -> list[dg.AssetCheckSpec]:
    """The checks of one landed entity."""
    specs = [
        dg.AssetCheckSpec(READABLE, asset=key, description="Each file could be read as configured."),
        dg.AssetCheckSpec(
            ADDS_UP, asset=key, description="Rows read = kept + rejected + duplicate, per file."
        ),
        dg.AssetCheckSpec(
            REJECTED, asset=key, description=f"At most {REJECTED_SHARE:.0%} of the rows were rejected."
        ),
    ]
    if entity in _STAGE_ENTITIES:
        specs.append(
            dg.AssetCheckSpec(STAGES_KNOWN, asset=key, description="The configuration names every stage.")
        )
    return specs


def check_results(key: dg.AssetKey, entity: str, result: ExtractResult) -> list[dg.AssetCheckResult]:
    """The outcome of the checks of one entity for an extraction."""
    reports = result.of(entity)
    outcomes = [_readable(key, reports), _adds_up(key, reports), _few_rejected(key, reports)]
    if entity in _STAGE_ENTITIES:
        outcomes.append(_stages_known(key, reports))
    return outcomes


def rejects_table(rejects: Iterable[Reject]) -> str:
    """The first rejected rows as a Markdown table."""
    rows = [(r.file, r.row, r.column, r.value, r.reason, r.hint) for r in rejects]
    return markdown(("file", "row", "column", "value", "reason", "remedy"), rows[:_SHOWN])


def unknown_table(values: Iterable[UnknownValue]) -> str:
    """Unknown values with the line to paste, as a Markdown table."""
    rows = [(v.column, v.value, v.rows, f"`{v.paste}`") for v in values]
    return markdown(("column", "value", "rows", "line to paste"), rows[:_SHOWN])


def counted_unknown(stages: Sequence[UnknownValue], statuses: Sequence[UnknownValue]) -> str:
    """How many stages and statuses nobody has named, in words."""
    told = [f"{len(stages)} stages are not in the list"] if stages else []
    told += [f"{len(statuses)} words for the status are not known"] if statuses else []
    return ", ".join(told)


def markdown(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; text of files is escaped."""
    if not rows:
        return "none"
    lines = [header, ["---"] * len(header), *[[_cell(value) for value in row] for row in rows]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    for mark, safe in (("&", "&amp;"), ("<", "&lt;"), ("|", "\\|"), ("\n", " "), ("\r", " ")):
        text = text.replace(mark, safe)
    return text[:200]


def _readable(key: dg.AssetKey, reports: Sequence[FileReport]) -> dg.AssetCheckResult:
    failed = [report for report in reports if report.status == "failed"]
    waiting = [report for report in reports if report.status == "waiting"]
    return dg.AssetCheckResult(
        check_name=READABLE,
        asset_key=key,
        passed=not failed and not waiting,
        severity=dg.AssetCheckSeverity.ERROR if failed else dg.AssetCheckSeverity.WARN,
        description="; ".join(f"{report.file} {report.problem}" for report in [*failed, *waiting]) or None,
        metadata={"files": len(reports), "failed": len(failed), "still being written": len(waiting)},
    )


def _adds_up(key: dg.AssetKey, reports: Sequence[FileReport]) -> dg.AssetCheckResult:
    wrong = [report for report in reports if not report.adds_up]
    return dg.AssetCheckResult(
        check_name=ADDS_UP,
        asset_key=key,
        passed=not wrong,
        severity=dg.AssetCheckSeverity.ERROR,
        description="; ".join(
            f"{r.file}: {r.rows_read} read, but {r.rows_kept} kept, {r.rows_rejected} rejected and "
            f"{r.rows_duplicate} duplicate"
            for r in wrong
        )
        or None,
    )


def _few_rejected(key: dg.AssetKey, reports: Sequence[FileReport]) -> dg.AssetCheckResult:
    read = sum(report.rows_read for report in reports)
    rejected = sum(report.rows_rejected for report in reports)
    samples = [reject for report in reports for reject in report.rejects]
    return dg.AssetCheckResult(
        check_name=REJECTED,
        asset_key=key,
        passed=rejected <= REJECTED_SHARE * read,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{rejected:,} of {read:,} rows were rejected" if rejected else None,
        metadata={
            "rejected": rejected,
            "read": read,
            "examples": dg.MetadataValue.md(rejects_table(samples)),
        },
    )


def _stages_known(key: dg.AssetKey, reports: Sequence[FileReport]) -> dg.AssetCheckResult:
    unknown = [value for report in reports for value in report.unknown_values]
    statuses = [value for value in unknown if value.column == "status"]
    stages = [value for value in unknown if value.column != "status"]
    return dg.AssetCheckResult(
        check_name=STAGES_KNOWN,
        asset_key=key,
        passed=not unknown,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{counted_unknown(stages, statuses)}; their deals are kept" if unknown else None,
        metadata={
            "paste into stages": dg.MetadataValue.md(unknown_table(stages)),
            "paste into statuses": dg.MetadataValue.md(unknown_table(statuses)),
        },
    )
