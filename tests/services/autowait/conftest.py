"""The four colours of a wait; and that no test leaves anything watched."""

import os

import pytest
from autowait_tools import COLOURS, Face, until, watched

from cup.services.autowait import _core_eyes, _core_lease


@pytest.fixture(params=COLOURS)
def face(request):
    """Give the functions in one colour; a test runs once in each."""
    return Face(request.param)


@pytest.fixture
def threads():
    """Give the functions for threads."""
    return Face("threads")


@pytest.fixture(autouse=True)
def nothing_left(monkeypatch):
    """See that all is let go. CUP_TEST_NO_EVENTS=1 runs the suite without events."""
    if os.environ.get("CUP_TEST_NO_EVENTS") == "1":
        monkeypatch.setattr(_core_eyes, "open_eyes", no_eyes)
    yield
    until(lambda: watched() == (0, 0), 5)
    until(lambda: len(_core_lease._free) == len(_core_lease.leases) <= 7, 5)


def no_eyes():
    raise _core_eyes.Unwatchable("switched off for a test")
