"""Which day a deals file stands for: repeated exports of the same deals are compared from day to day."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

# An undated file whose newest event is older than this is an old export, not the news of last night.
OLD_AFTER_DAYS = 14


@dataclass(frozen=True)
class SnapshotDay:
    """The day at whose end the deals stood as a file says, and where that is known from.

    A file stands for the day in its own name alone; by any other basis, until a newer file of its name.
    """

    day: date
    basis: Literal["file_name", "data_as_of", "reading"]


def snapshot_day(
    name_date: date | None, data_as_of: date | None, newest_event_on: date | None, read_on: date
) -> SnapshotDay | None:
    """The day of a deals file: the date in its name, else the source's `data_as_of`, else the eve of reading.

    `read_on` is the business day on which the file was first read. None for an undated file that ends weeks
    before: when it was exported cannot be known.
    """
    if name_date is not None:
        return SnapshotDay(name_date, "file_name")
    if data_as_of is not None:
        return SnapshotDay(data_as_of, "data_as_of")
    eve = read_on - timedelta(days=1)
    if newest_event_on is not None and newest_event_on < eve - timedelta(days=OLD_AFTER_DAYS):
        return None
    return SnapshotDay(eve, "reading")
