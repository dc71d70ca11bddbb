"""Exports that are delivered again and again: one table, files that differ by a date in their name."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from glob import glob
from pathlib import Path, PurePath

import pandas as pd

from dagster_project.extract.connect.profile import FileProfile
from dagster_project.extract.files.arrivals import name_date

_ALIKE = 0.5  # share of the headers that two deliveries of one table have in common, at least


@dataclass(frozen=True)
class Delivery:
    """One table: its newest file, the earlier ones (oldest first), and the path or glob that names them all.

    `member` names the files in a zip archive, where it holds several.
    """

    newest: FileProfile
    earlier: tuple[FileProfile, ...]
    path: str
    member: str | None

    @property
    def files(self) -> tuple[FileProfile, ...]:
        """All its files, the oldest first."""
        return *self.earlier, self.newest


def find_deliveries(profiles: Sequence[FileProfile]) -> list[Delivery]:
    """Group some tables by the names of their files and their headers."""
    groups: list[list[FileProfile]] = []
    for profile in sorted(profiles, key=_age):
        group = next((found for found in groups if _belong_together(found[-1], profile)), None)
        if group is None:
            groups.append([profile])
        else:
            group.append(profile)
    return [_delivery(group, profiles) for group in groups]


def snapshot_frame(files: Iterable[FileProfile], deal: str, stage: str) -> pd.DataFrame | None:
    """The stages of the deals by the days of some exports: deal, at, stage, one row per change that shows.

    `deal` and `stage` are headers. None unless every export has a day in its name and each deal once.
    """
    frames: list[pd.DataFrame] = []
    for profile in files:
        day = file_day(profile)
        found = {column.header: column for column in profile.columns}
        if day is None or not {deal, stage} <= found.keys() or not found[deal].is_key:
            return None
        frame = pd.DataFrame(
            {"deal": found[deal].values, "at": pd.Timestamp(day), "stage": found[stage].values}
        )
        frames.append(frame)
    if len(frames) < 2:
        return None
    every = pd.concat(frames).sort_values(["deal", "at"], kind="stable")
    return every[every["stage"] != every.groupby("deal")["stage"].shift()].reset_index(drop=True)


def file_day(profile: FileProfile) -> date | None:
    """The day in the name of a file or member."""
    return name_date(PurePath(profile.member or "")) or name_date(profile.path)


def _age(profile: FileProfile) -> tuple[date, str, str, str]:
    return file_day(profile) or date.min, str(profile.path), profile.member or "", profile.sheet or ""


def _belong_together(one: FileProfile, other: FileProfile) -> bool:
    names = [(str(p.path.parent), _shape(p.path.name), _shape(p.member or ""), p.sheet) for p in (one, other)]
    headers = [{column.header for column in p.columns} for p in (one, other)]
    common = len(headers[0] & headers[1]) / max(1, len(headers[0] | headers[1]))
    return names[0] == names[1] and one.key != other.key and common >= _ALIKE


def _shape(name: str) -> str:
    return re.sub(r"\d+", "#", name)


def _delivery(group: list[FileProfile], profiles: Sequence[FileProfile]) -> Delivery:
    newest = group[-1]
    paths = {profile.path for profile in group}
    others = {profile.path for profile in profiles} - paths
    path = str(newest.path)
    if len(paths) > 1:
        path = next(g for g in _globs(newest.path) if not others & {Path(n) for n in glob(g)} or "[0-9]" in g)
    members = {profile.member for profile in group if profile.member}
    member = _starred(newest.member, "*") if newest.member and len(members) > 1 else newest.member
    return Delivery(newest, tuple(group[:-1]), path, member)


def _globs(path: Path) -> tuple[str, str]:
    """The glob for files that differ by numbers in their names, and one for names alike but for a word."""
    return str(path.with_name(_starred(path.name, "*"))), str(path.with_name(_starred(path.name, "[0-9]*")))


def _starred(name: str, star: str) -> str:
    return re.sub(r"\d+([-_.]\d+)*", star, name)
