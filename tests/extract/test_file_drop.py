"""The file-drop sensor's question: is there a new, complete file?"""

import os
import time
from pathlib import Path

from small_business import Business

from dagster_project.extract.file_drop import NewFiles, new_files

HEADER = "ID,Stage,Amount,Close,Created\n"


def ask(business: Business, cursor: str | None = None) -> NewFiles:
    return new_files(business.settings(), business.landing, cursor)


def aged(path: Path, seconds: float = 120) -> Path:
    moment = time.time() - seconds
    os.utime(path, (moment, moment))
    return path


def test_a_file_that_rests_is_new_until_it_is_landed(business: Business) -> None:
    assert ask(business).fingerprint is None
    path = aged(business.write("deals.csv", HEADER + "D1,Offer,5,,\n"))
    found = ask(business)
    assert found.fingerprint is not None
    assert found.files == (path,)
    assert ask(business, found.cursor).fingerprint == found.fingerprint
    business.extract()
    assert ask(business, found.cursor) == NewFiles(None, (), "[]")


def test_a_young_file_is_complete_when_two_looks_see_it_alike(business: Business) -> None:
    path = business.write("deals.csv", HEADER + "D1,Offer,5,,\n")
    first = ask(business)
    assert first.fingerprint is None
    path.write_text(HEADER + "D1,Offer,5,,\nD2,Offer,5,,\n")
    second = ask(business, first.cursor)
    assert second.fingerprint is None
    assert ask(business, second.cursor).fingerprint is not None


def test_one_file_still_being_written_holds_back_the_others(business: Business) -> None:
    aged(business.write("deals_a.csv", HEADER))
    business.write("deals_b.csv", HEADER + "D1")
    assert ask(business).fingerprint is None


def test_an_unfinished_name_and_a_parquet_file_without_its_end_never_fire(business: Business) -> None:
    aged(business.write("deals.csv.part", HEADER))
    assert ask(business).fingerprint is None
    aged(business.write("deals.parquet", b"PAR1 half a file"))
    assert ask(business).fingerprint is None


def test_a_changed_file_is_new_again(business: Business) -> None:
    path = aged(business.write("deals.csv", HEADER + "D1,Offer,5,,\n"))
    business.extract()
    path.write_text(HEADER + "D1,Won,5,,\n")
    aged(path, 90)
    assert ask(business).files == (path,)
