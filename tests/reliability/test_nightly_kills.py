"""The nightly command killed with everything it started, and run again; `make soak` does it for an hour."""

from pathlib import Path

from tests.long_tests import LONG
from tests.soak.nightly_kills import kill_nights


@LONG
def test_killed_nights_end_like_undisturbed_ones(tmp_path: Path) -> None:
    outcome = kill_nights(tmp_path, kills=2, seconds=1_200, seed=1)
    assert outcome.failures == []
    assert not outcome.lines[0].startswith("1 kills")
