"""Write .xlsx files cell by cell: serial dates, cached results of formulas, merged cells, hidden sheets."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_NS = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
_R = 'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
_TYPES = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_RELATIONS_TYPE = "application/vnd.openxmlformats-package.relationships+xml"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


@dataclass(frozen=True)
class Dated:
    """A number shown as a date."""

    serial: float


@dataclass(frozen=True)
class Formula:
    """A formula with the result it had when it was last calculated."""

    text: str
    result: float | None


def workbook(
    sheets: Mapping[str, Sequence[Sequence[object]]],
    *,
    merged: Sequence[str] = (),
    hidden: Sequence[str] = (),
    from_1904: bool = False,
) -> bytes:
    """The bytes of a workbook; `merged` ranges (A1:A2) belong to its first sheet."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        numbers = range(1, len(sheets) + 1)
        kinds = "".join(
            f'<Override PartName="/xl/worksheets/sheet{n}.xml" ContentType="{_TYPES}.worksheet+xml"/>'
            for n in numbers
        )
        archive.writestr(
            "[Content_Types].xml",
            '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
            f'<Default Extension="rels" ContentType="{_RELATIONS_TYPE}"/>'
            '<Override PartName="/xl/workbook.xml" ContentType='
            f'"{_TYPES}.sheet.main+xml"/>' + kinds + "</Types>",
        )
        archive.writestr("_rels/.rels", _relations({"rId1": ("officeDocument", "xl/workbook.xml")}))
        listed = "".join(
            f'<sheet name="{escape(name)}" sheetId="{n}" r:id="rId{n}"'
            + (' state="hidden"' if name in hidden else "")
            + "/>"
            for n, name in zip(numbers, sheets, strict=True)
        )
        dates = '<workbookPr date1904="1"/>' if from_1904 else ""
        archive.writestr(
            "xl/workbook.xml", f"<workbook {_NS} {_R}>{dates}<sheets>{listed}</sheets></workbook>"
        )
        parts = {f"rId{n}": ("worksheet", f"worksheets/sheet{n}.xml") for n in numbers}
        archive.writestr(
            "xl/_rels/workbook.xml.rels", _relations(parts | {"rId99": ("styles", "styles.xml")})
        )
        archive.writestr(
            "xl/styles.xml",
            f'<styleSheet {_NS}><cellXfs><xf numFmtId="0"/><xf numFmtId="14" applyNumberFormat="1"/>'
            "</cellXfs></styleSheet>",
        )
        for n, rows in zip(numbers, sheets.values(), strict=True):
            archive.writestr(f"xl/worksheets/sheet{n}.xml", _sheet(rows, merged if n == 1 else ()))
    return out.getvalue()


def _relations(parts: Mapping[str, tuple[str, str]]) -> str:
    lines = "".join(
        f'<Relationship Id="{key}" Type="{_OFFICE}/{kind}" Target="{target}"/>'
        for key, (kind, target) in parts.items()
    )
    return f'<Relationships xmlns="{_PACKAGE}">{lines}</Relationships>'


def _sheet(rows: Sequence[Sequence[object]], merged: Sequence[str]) -> str:
    body = "".join(
        f'<row r="{number}">'
        + "".join(_cell(f"{chr(65 + place)}{number}", value) for place, value in enumerate(row))
        + "</row>"
        for number, row in enumerate(rows, start=1)
    )
    ranges = "".join(f'<mergeCell ref="{ref}"/>' for ref in merged)
    cells = f"<mergeCells>{ranges}</mergeCells>" if merged else ""
    return f"<worksheet {_NS}><sheetData>{body}</sheetData>{cells}</worksheet>"


def _cell(ref: str, value: object) -> str:
    match value:
        case None:
            return ""
        case Dated(serial):
            return f'<c r="{ref}" s="1"><v>{serial}</v></c>'
        case Formula(text, result):
            cached = "" if result is None else f"<v>{result}</v>"
            return f'<c r="{ref}"><f>{escape(text)}</f>{cached}</c>'
        case bool():
            return f'<c r="{ref}" t="b"><v>{int(value)}</v></c>'
        case int() | float():
            return f'<c r="{ref}"><v>{value}</v></c>'
        case _:
            return f'<c r="{ref}" t="inlineStr"><is><t>{escape(str(value))}</t></is></c>'
