"""Waiting beside raw inotify, watchers, psutil and polling: from event to return.

What is waited for is done by another process, 10 ms after it was told to; it says when.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from cup.services.autowait import (
    FileExists,
    PortOpen,
    ProcessGone,
    ProcessRunning,
    RegexInFile,
    _core_inotify as inotify,
    aio,
    any_of,
    satisfied,
    wait,
    wait_until_file_exist,
)

from ._harness import OURS, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._harness import Report

    Waiting = Callable[[Path], object]

EACH = 7  # waits in one round, of which the median counts
LONG = 20.0
# watchfiles begins to listen at its first item: what came before it never tells.
ARMED_LATE: dict[str, Any] = {"rust_timeout": 500, "yield_on_timeout": True}
ACTOR = """
import os, signal, socket, subprocess, sys, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # psutil takes a zombie for the program
held = []
for order in sys.stdin:
    what, _, where = order.rstrip().partition(" ")
    time.sleep(0.01)
    now = time.monotonic()
    if what == "touch":
        os.close(os.open(where, os.O_CREAT | os.O_WRONLY))
    elif what == "append":
        with open(where, "ab", buffering=0) as file:
            file.write(b"ready\\n")
    elif what == "kill":
        os.kill(int(where), 9)
    elif what == "start":
        held.append(subprocess.Popen([where, "1"]))
    elif what == "listen":
        held[:] = [socket.create_server(("127.0.0.1", int(where)))]
    print(now, flush=True)
"""


class Actor:
    """Another process that does things when it is told to."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", ACTOR],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def tell(self, order: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(order + "\n")

    def when(self) -> float:
        assert self._process.stdout
        return float(self._process.stdout.readline())


def latency(
    actor: Actor,
    prepare: Callable[[], tuple[str, Callable[[], object]]],
    each: int = EACH,
) -> Callable[[], float]:
    """Measure from the event to the return of the wait, in microseconds."""

    def measure() -> float:
        times = []
        for _ in range(each):
            order, waiting = prepare()
            actor.tell(order)
            waiting()
            returned = time.monotonic()
            times.append((returned - actor.when()) * 1e6)
        return statistics.median(times)

    return measure


class Files:
    """Gives a new path for each wait, in one directory."""

    def __init__(self) -> None:
        self.place = Path(tempfile.mkdtemp(prefix="cup-benchmark-"))
        self._count = 0

    def path(self) -> Path:
        self._count += 1
        return self.place / f"file{self._count}"

    def touched(self, waiting: Waiting) -> tuple[str, Callable[[], object]]:
        path = self.path()
        return f"touch {path}", partial(waiting, path)

    def appended(self, waiting: Waiting) -> tuple[str, Callable[[], object]]:
        path = self.path()
        path.write_bytes(b"begin\n" * 10)
        return f"append {path}", partial(waiting, path)


def exists(path: Path) -> bool:
    return path.exists()


# -- the floor: inotify as it is -------------------------------------------------------


class Raw:
    """One inotify descriptor that is kept, and polled by who waits."""

    def __init__(self) -> None:
        self._queue = inotify.open_queue()
        self._poll = select.poll()
        self._poll.register(self._queue, select.POLLIN)

    def file(self, path: Path) -> None:
        key = inotify.add(self._queue, bytes(path.parent), inotify.CREATE)
        while not exists(path):
            self._poll.poll()
            [*inotify.read(self._queue)]
        inotify.remove(self._queue, key)
        [*inotify.read(self._queue)]

    async def afile(self, path: Path) -> None:
        key = inotify.add(self._queue, bytes(path.parent), inotify.CREATE)
        while not exists(path):
            await anyio.wait_readable(self._queue)
            [*inotify.read(self._queue)]
        inotify.remove(self._queue, key)
        [*inotify.read(self._queue)]

    def line(self, path: Path) -> None:
        key = inotify.add(self._queue, bytes(path), inotify.MODIFY)
        with path.open("rb") as file:
            while b"ready" not in file.read():
                self._poll.poll()
                [*inotify.read(self._queue)]
        inotify.remove(self._queue, key)
        [*inotify.read(self._queue)]


def polling(done: Callable[[Path], bool], gap: float) -> Waiting:
    """Wait as most programs do."""

    def waiting(path: Path) -> None:
        while not done(path):
            time.sleep(gap)

    return waiting


# -- the peers -------------------------------------------------------------------------


def watchers(report: Report) -> dict[str, Waiting]:
    """Return what waits for a file in a thread, by each peer that is installed."""
    found: dict[str, Waiting] = {}
    if report.needs("watchfiles"):
        import watchfiles

        def by_watchfiles(path: Path, **options: Any) -> None:
            for _ in watchfiles.watch(path.parent, **ARMED_LATE, **options):
                if exists(path):
                    return

        found["watchfiles, tuned to 1 ms"] = partial(by_watchfiles, step=1, debounce=1)
        found["watchfiles"] = by_watchfiles
    if report.needs("watchdog"):
        found["watchdog"] = with_watchdog()
    if report.needs("inotify_simple"):
        import inotify_simple

        def by_simple(path: Path) -> None:
            with inotify_simple.INotify() as queue:
                queue.add_watch(path.parent, inotify_simple.flags.CREATE)
                while not exists(path):
                    queue.read()

        found["inotify_simple"] = by_simple
    return found


def with_watchdog() -> Waiting:
    from watchdog.events import FileSystemEventHandler
    from watchdog.observers import Observer

    def by_watchdog(path: Path) -> None:
        seen = threading.Event()

        class Handler(FileSystemEventHandler):
            def on_any_event(self, event: Any) -> None:
                if exists(path):
                    seen.set()

        observer = Observer()
        observer.schedule(Handler(), str(path.parent))
        observer.start()
        if not exists(path):
            seen.wait(LONG)
        observer.stop()
        observer.join()

    return by_watchdog


def awatchers(report: Report) -> dict[str, Callable[[Path], Any]]:
    """Return what waits for a file in a task of asyncio."""
    found: dict[str, Callable[[Path], Any]] = {}
    if report.needs("watchfiles"):
        import watchfiles

        async def by_watchfiles(path: Path) -> None:
            ways = {"step": 1, "debounce": 1, **ARMED_LATE}
            async for _ in watchfiles.awatch(path.parent, **ways):
                if exists(path):
                    return

        found["watchfiles.awatch, tuned to 1 ms"] = by_watchfiles
    if report.needs("asyncinotify"):
        from asyncinotify import Inotify, Mask

        async def by_asyncinotify(path: Path) -> None:
            with Inotify() as queue:
                queue.add_watch(path.parent, Mask.CREATE)
                if not exists(path):
                    async for _ in queue:
                        if exists(path):
                            return

        found["asyncinotify"] = by_asyncinotify
    return found


def in_loop(
    actor: Actor, files: Files, waiting: Callable[[Path], Any], **options: Any
) -> Callable[[], float]:
    """Measure in a task: the loop runs already when the wait begins."""

    async def main() -> float:
        times = []
        for _ in range(EACH):
            path = files.path()
            actor.tell(f"touch {path}")
            await waiting(path)
            returned = time.monotonic()
            times.append((returned - actor.when()) * 1e6)
        return statistics.median(times)

    return lambda: anyio.run(main, **options)


# -- rows ------------------------------------------------------------------------------


def of_files(report: Report, actor: Actor, files: Files) -> Iterator[Row]:
    raw = Raw()
    peers = watchers(report)
    ours: Waiting = lambda path: wait(FileExists(path), LONG)
    floor = "inotify, one descriptor kept"
    polled = polling(exists, 0.1)
    ways = {OURS: ours, floor: raw.file, **peers, "polling, 0.1 s": polled}
    yield Row(
        "a file appears, in a thread",
        {
            name: latency(actor, partial(files.touched, way))
            for name, way in ways.items()
        },
        goals={
            floor: 1.5,
            "watchfiles, tuned to 1 ms": 0.2,
            "watchfiles": 0.005,
            "watchdog": 0.1,
            "inotify_simple": 0.1,
        },
    )
    awaited: Callable[[Path], Any] = lambda path: aio.wait(FileExists(path), LONG)
    for loop in ("asyncio", "trio"):
        more = awatchers(report) if loop == "asyncio" else {}
        atasks = {OURS: awaited, floor: raw.afile, **more}
        yield Row(
            f"a file appears, in a task on {loop}",
            {
                name: in_loop(actor, files, way, backend=loop)
                for name, way in atasks.items()
            },
            goals={floor: 1.3, "asyncinotify": 0.1},
        )
    ours = lambda path: wait(RegexInFile(path, "^ready$"), LONG)
    polled = polling(lambda path: b"ready" in path.read_bytes(), 0.1)
    ways = {OURS: ours, floor: raw.line, "polling, 0.1 s": polled}
    yield Row(
        "a line is written, in a thread",
        {
            name: latency(actor, partial(files.appended, way))
            for name, way in ways.items()
        },
        goals={floor: 1.5},
    )


def of_processes(report: Report, actor: Actor, files: Files) -> Iterator[Row]:
    program = shutil.copy(shutil.which("sleep") or "sleep", f"{files.place}/sleeper")
    ended, starts = partial(ends, actor, program), partial(appears, actor, program)
    one: dict[str, Callable[[], float]] = {
        OURS: ended(lambda many: wait(ProcessGone(many[0]), LONG)),
        "pidfd": ended(by_pidfd),
        "cup, by path": ended(lambda _: wait(ProcessGone(program), LONG)),
    }
    first = {
        OURS: ended(lambda many: wait(any_of(*map(ProcessGone, many)), LONG), 50),
    }
    started = {OURS: starts(lambda: wait(ProcessRunning(program), LONG))}
    if report.needs("psutil"):
        import psutil

        def by_wait_procs(many: list[int]) -> None:
            def found(_: Any) -> None:
                raise TimeoutError

            with contextlib.suppress(TimeoutError):
                psutil.wait_procs(map(psutil.Process, many), LONG, callback=found)

        def by_polling() -> None:
            while all(p.info["exe"] != program for p in psutil.process_iter(["exe"])):
                time.sleep(0.1)

        one["psutil.Process.wait"] = ended(lambda many: psutil.Process(many[0]).wait())
        first["psutil.wait_procs"] = ended(by_wait_procs, 50)
        started["psutil, polling 0.1 s"] = starts(by_polling)
    yield Row("a process ends", one, goals={"psutil.Process.wait": 2.0, "pidfd": 2.0})
    yield Row(
        "one of 50 processes ends", first, goals={"psutil.wait_procs": 0.02}, limit=2000
    )
    yield Row(
        "a program starts", started, goals={"psutil, polling 0.1 s": 0.05}, limit=3000
    )


def by_pidfd(many: list[int]) -> None:
    fd = os.pidfd_open(many[0])
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    poll.poll()
    os.close(fd)


def ends(
    actor: Actor, program: str, waiting: Callable[[list[int]], object], number: int = 1
) -> Callable[[], float]:
    """Measure from the kill of the last process to the return."""
    old: list[subprocess.Popen[bytes]] = []

    def prepare() -> tuple[str, Callable[[], object]]:
        many = [subprocess.Popen([program, "60"]) for _ in range(number)]
        for process in many:
            wait(ProcessRunning(program) & ProcessRunning(process.pid), LONG)
        old.extend(many)
        return f"kill {many[-1].pid}", partial(waiting, [p.pid for p in many])

    measure = latency(actor, prepare)

    def clean() -> float:
        figure = measure()
        for process in old:
            process.kill()
            process.wait()
        old.clear()
        return figure

    return clean


def appears(
    actor: Actor, program: str, waiting: Callable[[], object]
) -> Callable[[], float]:
    """Measure from before a program is started, which takes a while itself."""

    def prepare() -> tuple[str, Callable[[], object]]:
        wait(ProcessGone(program), LONG)  # each lives for a second
        return f"start {program}", waiting

    return latency(actor, prepare, each=2)


def of_ports(report: Report, actor: Actor) -> Iterator[Row]:
    def prepare(waiting: Callable[[int], object]) -> tuple[str, Callable[[], object]]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        return f"listen {port}", partial(waiting, port)

    def connect(port: int) -> None:
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port)).close()
                return
            time.sleep(0.1)

    ways: dict[str, Callable[[int], object]] = {
        OURS: lambda port: wait(PortOpen(port), LONG),
        "connecting each 0.1 s": connect,
    }
    if report.needs("psutil"):
        import psutil

        def look(port: int) -> None:
            while not any(
                c.laddr.port == port for c in psutil.net_connections("tcp") if c.laddr
            ):
                time.sleep(0.1)

        ways["psutil, polling 0.1 s"] = look
    yield Row(
        "a port opens",
        {name: latency(actor, partial(prepare, way)) for name, way in ways.items()},
        limit=1500,
    )


def idle(waiting: Callable[[], object]) -> Callable[[], float]:
    """Measure what a wait of 2 s in vain takes of one core, in per cent."""

    def measure() -> float:
        start, before = time.monotonic(), time.process_time()
        with contextlib.suppress(TimeoutError):
            waiting()
        return (time.process_time() - before) / (time.monotonic() - start) * 100

    return measure


def of_idleness(report: Report, files: Files) -> Iterator[Row]:
    ways: dict[str, Callable[[], object]] = {
        OURS: lambda: wait_until_file_exist(files.place, "never", 2, LONG),
    }
    if report.needs("watchfiles"):
        import watchfiles

        def watch(**options: Any) -> None:
            stop = threading.Event()
            threading.Timer(2, stop.set).start()
            for _ in watchfiles.watch(files.place, stop_event=stop, **options):
                pass

        ways["watchfiles, tuned to 1 ms"] = partial(watch, step=1, debounce=1)
        ways["watchfiles"] = watch
    yield Row(
        "idle: a file",
        {name: idle(way) for name, way in ways.items()},
        unit="%",
        limit=0.1,  # of which the begin and the end of the wait are most
    )

    def port() -> float:
        spent = []
        for seconds in (1, 3):
            before = time.process_time()
            with contextlib.suppress(TimeoutError):
                wait(PortOpen(9), seconds)
            spent.append(time.process_time() - before)
        return (spent[1] - spent[0]) / 2 * 100

    yield Row("idle: a port, after a second", {OURS: port}, unit="%", limit=0.7)


def of_many(files: Files) -> Iterator[Row]:
    async def crowd(path: Path, number: int, returned: list[float]) -> None:
        async def one() -> None:
            await aio.wait(FileExists(path), LONG)
            returned.append(time.monotonic())

        async with anyio.create_task_group() as group:
            for _ in range(number):
                group.start_soon(one)

    def measure() -> float:
        path, returned = files.path(), list[float]()

        def one() -> None:
            wait(FileExists(path), LONG)
            returned.append(time.monotonic())

        threads = [threading.Thread(target=one) for _ in range(500)]
        for loop in ("asyncio", "trio"):
            run = partial(anyio.run, crowd, path, 250, returned, backend=loop)
            threads.append(threading.Thread(target=run))
        for thread in threads:
            thread.start()
        time.sleep(1)
        start = time.monotonic()
        path.touch()
        for thread in threads:
            thread.join()
        return (max(returned) - start) * 1000

    yield Row("1000 waits are all woken", {OURS: measure}, unit="ms", limit=150)

    def late() -> float:
        start = time.monotonic()
        with contextlib.suppress(TimeoutError):
            wait(FileExists(files.place / "never"), 0.1)
        return (time.monotonic() - start - 0.1) * 1000

    yield Row("time-out is late", {OURS: late}, unit="ms", limit=5)


def of_reading(files: Files) -> Iterator[Row]:
    path = files.path()
    path.write_bytes(b"2026-01-01 12:00:00 INFO something happened here\n" * 1_000_000)
    megabytes = path.stat().st_size / 1e6

    def each(work: Callable[[], object]) -> Callable[[], float]:
        def measure() -> float:
            start = time.perf_counter()
            work()
            return (time.perf_counter() - start) * 1e6 / megabytes

        return measure

    def loop() -> bool:
        with path.open() as lines:
            return any("server is ready" in line for line in lines)

    yield Row(
        "a file is searched, per MB",
        {
            OURS: each(lambda: satisfied(RegexInFile(path, "^server is ready$"))),
            "for line in file": each(loop),
        },
        limit=2500,
    )


def rows(report: Report) -> Iterator[Row]:
    """Give all rows."""
    actor, files = Actor(), Files()
    yield from of_files(report, actor, files)
    yield from of_processes(report, actor, files)
    yield from of_ports(report, actor)
    yield from of_idleness(report, files)
    yield from of_many(files)
    yield from of_reading(files)
    shutil.rmtree(files.place)
