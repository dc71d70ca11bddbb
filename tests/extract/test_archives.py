"""Compressed files: what is in them is read like files, and no archive can do harm."""

import gzip
import io
import stat
import zipfile

import pytest
from small_business import DEALS, STAGES, Business

from dagster_project.extract.files import archives

HEADER = "ID,Stage,Amount,Close,Created\n"
ONE, TWO = HEADER + "D1,Offer,5,,\n", HEADER + "D2,Won,6,,\n"


def zipped(members: dict[str, str | bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def linked() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        entry = zipfile.ZipInfo("deals.csv")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    return out.getvalue()


def encrypted() -> bytes:
    """The encryption flag set in both headers of a member."""
    content = bytearray(zipped({"deals.csv": ONE}))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def test_a_gzip_file_is_the_file_in_it(business: Business) -> None:
    business.write("deals.csv.gz", gzip.compress(ONE.encode()))
    report = business.report()
    assert (report.file, report.rows_kept) == ("deals.csv", 1)
    assert business.report().status == "unchanged"


def test_every_file_of_a_zip_is_read_by_itself_in_order_of_its_date(business: Business) -> None:
    members = {"x/deals_2026-03-02.csv": ONE, "deals_2026-03-01.jsonl": '{"ID": "D2", "Stage": "Won"}\n'}
    business.write("deals.zip", zipped({**members, "__MACOSX/._deals.csv": b"\x00", "deals.pdf": b"%PDF"}))
    reports = business.extract().of("deals")
    assert [(report.file, report.status, report.rows_kept) for report in reports] == [
        ("deals.zip/deals_2026-03-01.jsonl", "read", 1),
        ("deals.zip/x/deals_2026-03-02.csv", "read", 1),
        ("deals.zip/deals.pdf", "failed", 0),
    ]
    assert {deal["file"] for deal in business.landed("deals")} == {report.file for report in reports[:2]}


def test_the_members_of_a_table_can_be_named(business: Business) -> None:
    business.source = DEALS.replace("path: deals*", "path: deals*\n      member: deals_*.csv") + STAGES
    business.write("deals.zip", zipped({"deals_1.csv": ONE, "accounts.csv": "a\n1\n"}))
    assert business.report().rows_kept == 1


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("deals.zip", b"", "is empty (0 bytes)"),
        ("deals.zip", b"PK\x05\x06" + b"\x00" * 18, "holds no file"),
        ("deals.zip", b"ID,Stage\n", "is no readable zip archive"),
        ("deals.zip", zipped({"../deals.csv": ONE}), "leads out of it"),
        ("deals.zip", zipped({"a/../../deals.csv": ONE}), "leads out of it"),
        ("deals.zip", zipped({"/etc/deals.csv": ONE}), "leads out of it"),
        ("deals.zip", zipped({"C:\\deals.csv": ONE}), "leads out of it"),
        ("deals.zip", zipped({"..\\deals.csv": ONE}), "leads out of it"),
        ("deals.zip", linked(), "holds a link"),
        ("deals.zip", zipped({"deals.csv": b"\x00" * 40_000_000}), "which no export does"),
        ("deals.zip", zipped({"more.zip": zipped({"deals.csv": ONE})}), "holds another archive"),
        ("deals.zip", zipped({f"{n}.csv": "" for n in range(201)}), "has 201 entries; at most 200"),
        ("deals.zip", encrypted(), "without a password"),
        ("deals.csv.gz", b"", "is empty (0 bytes)"),
        ("deals.csv.gz", ONE.encode(), "is no readable gzip file"),
        ("deals.csv.gz", gzip.compress(b"\x00" * 40_000_000), "which no export does"),
        ("deals.csv", zipped({"deals.csv": ONE}), "name it .xlsx or .zip"),
        ("deals.csv", gzip.compress(ONE.encode()), "add .gz to its name"),
    ],
)
def test_an_archive_that_is_none_or_does_harm_fails_alone(
    business: Business, name: str, content: bytes, problem: str
) -> None:
    business.source = DEALS.replace("path: deals*", "path: drop/*") + STAGES
    business.write("drop/a.csv", TWO)
    business.write(f"drop/{name}", content)
    good, bad = business.extract().of("deals")
    assert (good.rows_kept, bad.status) == (1, "failed")
    assert problem in (bad.problem or "")
    assert [deal["file"] for deal in business.landed("deals")] == ["a.csv"]
    assert list(business.landing.root.glob(".inflight/*")) == []


@pytest.mark.parametrize("name", ["deals.zip", "deals.csv.gz"])
def test_an_archive_that_breaks_off_is_waited_for(business: Business, name: str) -> None:
    text = HEADER + "".join(f"D{n},Offer,{n * n},,\n" for n in range(500))
    whole = zipped({"deals.csv": text}) if name.endswith("zip") else gzip.compress(text.encode())
    business.write(name, whole[:-100])
    assert business.report().status == "waiting"
    business.write(name, whole)
    assert business.report().rows_kept == 500


def test_what_an_archive_says_of_its_size_is_not_believed() -> None:
    caps = archives.Caps(packed_bytes=1_000, max_bytes=archives.MAX_BYTES)
    caps.add(16_000_000)
    with pytest.raises(archives.FileUnreadable, match="which no export does"):
        caps.add(2_000_000)
