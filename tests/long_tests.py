"""The mark of tests that take minutes each: `make test-long` runs them, `make test` says that it does not."""

import os

import pytest

LONG = pytest.mark.skipif(
    os.environ.get("STAGELEDGER_LONG_TESTS") != "1", reason="long: run `make test-long`"
)
