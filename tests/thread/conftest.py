"""The worlds that tests of locks run in."""

import pytest
from thread_tools import ALL_WORLDS, CANCELLABLE_WORLDS, World, wait_for

from cup._core.interrupt import targets


@pytest.fixture(params=ALL_WORLDS)
def world(request):
    """Make owners of one kind: threads, or tasks of one loop."""
    world = World(request.param)
    yield world
    world.close()


@pytest.fixture(params=CANCELLABLE_WORLDS)
def cancellable_world(request):
    """Make owners that can be cancelled, or interrupted, while they wait."""
    world = World(request.param)
    yield world
    world.close()


@pytest.fixture(autouse=True)
def nothing_stays_open():
    """A target left open would be sent to whatever thread gets its identifier next."""
    yield
    wait_for(lambda: not targets)
