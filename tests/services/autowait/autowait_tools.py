"""What tests of waiting share: four ways to wait, and things that happen meanwhile."""

import contextlib
import threading
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import anyio
import pytest

from cup.services.autowait import aio, sync
from cup.services.autowait._core_hub import HUB
from cup.services.autowait._core_lease import leases

LOOPS = {
    "asyncio": {"backend": "asyncio"},
    "uvloop": {"backend": "asyncio", "backend_options": {"use_uvloop": True}},
    "trio": {"backend": "trio"},
}
COLOURS = [
    "threads",
    "asyncio",
    pytest.param(
        "uvloop",
        marks=[
            pytest.mark.full,  # asyncio stands for it in the quick tier
            pytest.mark.skipif(not find_spec("uvloop"), reason="needs uvloop"),
        ],
    ),
    "trio",
]
SOON = 0.02
LONG = 20  # nothing waits that long unless something is wrong


class Face:
    """The functions of autowait in one colour, each called from this thread."""

    def __init__(self, colour):
        self.colour = colour

    def __getattr__(self, name):
        if self.colour == "threads":
            return getattr(sync, name)
        function = getattr(aio, name)

        def call(*args, **kwargs):
            return anyio.run(partial(function, *args, **kwargs), **LOOPS[self.colour])

        return call

    def __repr__(self):
        return self.colour


@contextlib.contextmanager
def happening(*actions, after=SOON):
    """Do one thing after the other in a thread, with a pause before each."""
    failures = []

    def act():
        for action in actions:
            time.sleep(after)
            try:
                action()
            except BaseException as error:
                failures.append(error)

    thread = threading.Thread(target=act)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    assert not failures


def until(done, seconds=LONG):
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.001)


def watched():
    """Say how many paths and processes are watched, by all who listen."""
    stats = [hub.stats() for hub in (HUB, *leases)]
    return sum(paths for paths, _ in stats), sum(pids for _, pids in stats)


def append(path, data):
    with Path(path).open("ab") as file:
        file.write(data)


def open_files():
    """Count the descriptors of this process."""
    return len([*Path("/proc/self/fd").iterdir()])


def touch(path):
    Path(path).touch()
