"""Checked by mypy and pyright, not run: errors are also the built-ins they name."""

import concurrent.futures
import queue

from typing_extensions import assert_type

from cup.errors import (
    CupError,
    JobCancelled,
    JobTimeout,
    LockTimeout,
    MissingExtra,
    NetError,
    PoolFull,
    WaitTimeout,
)


def message_of(error: CupError) -> str:
    assert_type(error.message, str)
    return str(error)


timeout = WaitTimeout("not in time", timeout=2.5)
assert_type(timeout.timeout, float | None)
builtin_timeout: TimeoutError = LockTimeout("write lock not granted", timeout=0)
runtime: RuntimeError = LockTimeout()
future_timeout: concurrent.futures.TimeoutError = JobTimeout()
cancelled: concurrent.futures.CancelledError = JobCancelled()
full: queue.Full = PoolFull("queue holds 10 of 10 jobs")
network: OSError = NetError("no route")
assert_type(MissingExtra(requirement="rich").requirement, str)
