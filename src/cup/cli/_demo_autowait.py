"""Waiting for what happens, in threads; its twin for tasks is `_demo_autowait_aio`."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from cup.errors import ConditionTimeout, WaitFailed
from cup.services import autowait
from cup.services.autowait import (
    FileComplete,
    FileExists,
    LineMatch,
    PortOpen,
    ProcessGone,
    RegexInFile,
    wait,
)
from cup.services.threadpool import ThreadPool

from ._demo_part import Part

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from ._demo_part import Stage

__all__ = ["PARTS"]

LONG: Final = 30.0
CROWD: Final = 100


def events(stage: Stage) -> None:
    """Follow another process: its file, its log, its port, its end."""
    with server_in(stage.folder) as pid:
        file = wait(FileComplete(stage.folder / "run" / "ready", quiet=0.05), LONG)
        line = wait(RegexInFile(stage.folder / "app.log", LISTENING), LONG)
        port = wait(PortOpen(int(line.match[1])), LONG)
        tell_server(stage, file, line, port)
        (stage.folder / "stop").touch()
        wait(ProcessGone(pid), LONG)
        stage.exactly("processes left", 1 - autowait.satisfied(ProcessGone(pid)), 0)


def failing(stage: Stage) -> None:
    """Give up in time, and early where it is known to be in vain."""
    prepare_log(stage.folder)
    try:
        wait(RegexInFile(stage.folder / "app.log", "^ready$"), 0.05)
    except ConditionTimeout as error:
        tell_time_out(stage, error)
    with server_in(stage.folder, "fail") as pid:
        never = RegexInFile(stage.folder / "app.log", "^never$")
        try:
            wait(never.fail_if(ProcessGone(pid)), LONG)
        except WaitFailed as error:
            tell_failure(stage, error)


def many(stage: Stage) -> None:
    """Wait a hundred times at once; one helper thread listens for all."""
    paths = [stage.folder / f"file{n}" for n in range(CROWD)]
    with ThreadPool(max_workers=CROWD) as workers:
        jobs = [workers.submit(wait, FileExists(path), LONG) for path in paths]
        for path in reversed(paths):
            path.touch()
        found = [job.result() for job in jobs]
    tell_many(stage, found, paths)


# -- what both twins use ---------------------------------------------------------------

LISTENING: Final = "^listening on ([0-9]+)$"

SERVER: Final = """
import os, socket, sys, time
from pathlib import Path
folder, fails = Path(sys.argv[1]), sys.argv[2] == "fail"
with socket.socket() as server:
    server.bind(("127.0.0.1", 0))
    log = folder / "app.log"
    log.write_bytes(b"begin\\n")
    time.sleep(0.05)
    log.rename(folder / "app.log.1")
    with log.open("ab", buffering=0) as file:
        file.write(b"rotated\\nliste")
        time.sleep(0.05)
        file.write(b"ning on %d\\n" % server.getsockname()[1])
    if fails:
        sys.exit(1)
    (folder / "run").mkdir()
    with (folder / "run" / "ready").open("wb", buffering=0) as file:
        for _ in range(3):
            file.write(b"part ")
            time.sleep(0.02)
    server.listen()
    while not (folder / "stop").exists():
        time.sleep(0.01)
"""


@contextmanager
def server_in(folder: Path, how: str = "run") -> Generator[int]:
    """Start a server that writes to a folder; give the number of its process."""
    process = subprocess.Popen([sys.executable, "-c", SERVER, str(folder), how])  # noqa: S603
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def tell_server(stage: Stage, file: Path, line: LineMatch, port: int) -> None:
    """State what was seen of the server."""
    stage.exactly("bytes of the complete file", file.stat().st_size, 15)
    stage.exactly(
        "number of a line that came in parts, in the second log", line.number, 2
    )
    same = int(port == int(line.match[1]))
    stage.exactly("ports of that line that are open", same, 1)


def prepare_log(folder: Path) -> None:
    """Write a log in which nothing is ready."""
    (folder / "app.log").write_text("begin\nis READY\n", encoding="utf-8")


def tell_time_out(stage: Stage, error: ConditionTimeout) -> None:
    """State what the error of a time-out says."""
    said = [word for word in ("2 lines", "Watched by") if word in str(error)]
    stage.exactly("what the time-out tells", said, ["2 lines", "Watched by"])


def tell_failure(stage: Stage, error: WaitFailed) -> None:
    """State what the error of a wait in vain says."""
    stage.exactly("what ended the wait early", error.reason[:11], "ProcessGone")


def tell_many(stage: Stage, found: list[Path], paths: list[Path]) -> None:
    """State what became of a hundred waits."""
    same = sum(one == other for one, other in zip(found, paths, strict=True))
    stage.exactly("files found by who waited for them", same, CROWD)
    helpers = [t for t in threading.enumerate() if t.name == "cup-autowait"]
    stage.at_most("helper threads", len(helpers), 1)


PARTS: Final = (
    Part("autowait.events", "follow a server: its file, log, port and end", events),
    Part("autowait.failing", "give up in time, or early, and say why", failing),
    Part("autowait.many", "wait a hundred times at once", many),
)
