"""What the demo of durable jobs runs in a process of its own, which is killed.

Stored jobs are found by their import path: they are functions of this module.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, Final

from cup.services.executor import ExecutionService, LogStore

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["command", "hold", "leave_line"]

HOUR: Final = 3600.0


def leave_line(path: str, name: str) -> None:
    """Leave a line in a file: it stays, whatever becomes of this process."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, f"{name}\n".encode())
    finally:
        os.close(fd)


def command(store: Path, path: Path, soon: int, later: int) -> list[str]:
    """Return the command of a process that holds jobs until it is killed."""
    program = f"from {__name__} import hold; hold()"
    numbers = [str(soon), str(later)]
    return [sys.executable, "-c", program, str(store), str(path), *numbers]


def hold() -> None:
    """Run some jobs, hold others for an hour, and say when all of it is durable."""
    place, path, soon, later = sys.argv[1:]
    store = LogStore.open(place)
    executor = ExecutionService(store=store)
    executor.start()
    for number in range(int(later)):
        view = executor.options(key=f"later {number}")
        view.after(HOUR, leave_line, path, f"later {number}")
    jobs = [
        executor.options(key=f"soon {number}").after(
            0.01, leave_line, path, f"soon {number}"
        )
        for number in range(int(soon))
    ]
    for job in jobs:
        job.result()
    while len(store) > int(later):  # the last ends are being written
        threading.Event().wait(0.005)
    print("ready", flush=True)
    threading.Event().wait()
