"""A field-history report (deal, field, old value, new value, changed at) as rows of changes.

Each row tells one field of one deal: it becomes a change in which every other field is blank, which means
"not told". Rows of one instant are put together by the ledger.
"""

from collections import Counter
from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from dagster_project.contract import FIELD_HISTORY
from dagster_project.extract.files.mapping import ColumnMap, map_columns
from dagster_project.extract.files.rows import FileUnreadable, TextRows, plain, rows_schema
from dagster_project.settings import Column, FieldHistoryFile, TableFile

_CARRIED = ("deal_id", "changed_at", "changed_by", "event_id", "sequence")
# The fields whose old value the ledger can use: it tells where a deal was before its first known change.
_OLD_VALUES = {"stage": "from_stage", "pipeline": "from_pipeline"}


class FieldHistory:
    """The rows of one field-history file as rows of `stage_history`, and the table that maps them.

    `skipped` counts the rows of fields that `fields:` does not name: they are left out and reported.
    """

    def __init__(self, rows: TextRows, table: FieldHistoryFile) -> None:
        """Errors: FileUnreadable when a needed column is missing."""
        self._source = rows
        self._table = table
        self._places = map_columns(rows.headers, FIELD_HISTORY, table, {})
        self._targets = {plain(name): target for name, target in table.fields.items()}
        self.skipped: Counter[str] = Counter()
        self._taken = 0
        self._columns = self._outputs()
        headers = tuple(header for header, _, _ in self._columns.values())
        self.rows = TextRows(headers, self._pivoted(), rows.lines_beside, rows.total)

    @property
    def table(self) -> TableFile:
        """How the columns of `rows` feed the fields of `stage_history`."""
        columns = {field: Column(header=header) for field, (header, _, _) in self._columns.items()}
        return TableFile(path=self._table.path, columns=columns, format=self._table.format)

    def check(self) -> None:
        """After the rows were read. Errors: FileUnreadable when no row tells a field that is mapped."""
        if self.skipped and not self._taken:
            found = ", ".join(name for name, _ in self.skipped.most_common(20))
            raise FileUnreadable(
                f"tells none of the fields {', '.join(self._table.fields)}; it tells: {found}. "
                "Mend `fields: {name in the file: field}`"
            )

    def _outputs(self) -> dict[str, tuple[str, int | None, str | None]]:
        """Field of stage_history → header, place of its text, and the target whose rows alone it takes."""
        places, headers = self._places.columns, self._source.headers
        outputs: dict[str, tuple[str, int | None, str | None]] = {
            field: (headers[places[field]], places[field], None) for field in _CARRIED if field in places
        }
        for name, target in self._table.fields.items():
            outputs.setdefault(
                target, (f"{headers[places['new_value']]} ({name})", places["new_value"], target)
            )
            if target in _OLD_VALUES and "old_value" in places:
                old = (f"{headers[places['old_value']]} ({name})", places["old_value"], target)
                outputs.setdefault(_OLD_VALUES[target], old)
        return outputs

    def _pivoted(self) -> Iterator[pa.RecordBatch]:
        for batch in self._source.batches:
            broken, targets = self._told(batch)
            keep = pa.array(
                [target is not None or reason is not None for target, reason in _pairs(targets, broken)]
            )
            columns = [batch.column("line"), pa.array(broken, pa.string())]
            names = pa.array(targets, pa.string())
            for _, place, target in self._columns.values():
                texts = batch.column(f"c{place}")
                if target is not None:
                    texts = pc.if_else(pc.equal(names, target), texts, pa.scalar(None, pa.string()))
                columns.append(texts)
            made = pa.RecordBatch.from_arrays(columns, schema=rows_schema(len(self._columns)))
            yield made.filter(keep)

    def _told(self, batch: pa.RecordBatch) -> tuple[list[str | None], list[str | None]]:
        """Per row: why it is broken, and the field it tells."""
        broken = batch.column("broken").to_pylist()
        names = self._field_names(self._places, batch)
        targets: list[str | None] = []
        for number, name in enumerate(names):
            text = (name or "").strip()
            target = self._targets.get(plain(text)) if broken[number] is None else None
            if broken[number] is None and not text:
                broken[number] = "names no field"
            elif broken[number] is None and target is None:
                self.skipped[text] += 1
            self._taken += target is not None
            targets.append(target)
        return broken, targets

    @staticmethod
    def _field_names(places: ColumnMap, batch: pa.RecordBatch) -> list[str | None]:
        constants: Mapping[str, str] = places.constants
        if "field" in constants:
            return [constants["field"]] * batch.num_rows
        return batch.column(f"c{places.columns['field']}").to_pylist()


def _pairs(targets: list[str | None], broken: list[str | None]) -> Iterator[tuple[str | None, str | None]]:
    return zip(targets, broken, strict=True)
