"""Timers beside those of event loops, of the standard library, and of schedulers.

Setting and cancelling are measured in processor time, of all threads: on a busy
machine it says more than the time that passes.

APScheduler 4 cannot be installed beside 3: put it into a folder of its own (`pip
install --pre --target FOLDER apscheduler==4.0.0a6`) and name that in `APSCHEDULER4`.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import gc
import heapq
import itertools
import logging
import os
import random
import sched
import statistics
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cup.services.executor import ExecutionService

from ._harness import OURS, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._harness import Report

FLOOR = "floor: heap and lock"
LOOP = "asyncio, in the loop"
FROM_THREAD = "asyncio, from a thread"
UVLOOP = "uvloop, in the loop"
SCHED = "sched"
TIMER = "threading.Timer"
APS3 = "APScheduler 3"
APS4 = "APScheduler 4"

MANY = 100_000
MOST = 1_000_000


def job() -> None:
    """Do nothing."""


def delays(number: int) -> list[float]:
    rng = random.Random(1)
    return [rng.uniform(60, 3600) for _ in range(number)]


class FloorTimers:
    """What a thread-safe timer costs at least in Python: one lock, one heap."""

    class Timer:
        __slots__ = ("args", "due", "fn", "live")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._heap: list[Any] = []
        self._numbers = itertools.count()

    def after(self, delay: float, fn: Callable[..., object], *args: object) -> Any:
        timer = self.Timer()
        timer.fn, timer.args, timer.live = fn, args, True
        timer.due = time.monotonic() + delay
        with self._lock:
            heapq.heappush(self._heap, (timer.due, next(self._numbers), timer))
        return timer

    def cancel(self, timer: Any) -> None:
        with self._lock:
            timer.live = False
            timer.fn = timer.args = None


# -- setting and cancelling ------------------------------------------------------------


def by_calls(
    number: int, set_timer: Callable[[float], Any], cancel: Callable[[Any], object]
) -> tuple[float, float]:
    """Set timers and cancel them at random; return microseconds for each."""
    wanted = delays(number)
    gc.collect()
    start = time.process_time()
    timers = [set_timer(delay) for delay in wanted]
    settle()
    middle = time.process_time()
    random.Random(2).shuffle(timers)
    again = time.process_time()
    for timer in timers:
        cancel(timer)
    settle()
    end = time.process_time()
    return (middle - start) / number * 1e6, (end - again) / number * 1e6


def settle() -> None:
    """Let other threads put in order what they were given."""
    time.sleep(0.1)


def with_cup(number: int) -> tuple[float, float]:
    with ExecutionService() as service:
        return by_calls(
            number,
            lambda delay: service.after(delay, job),
            lambda timer: timer.cancel(),
        )


def with_floor(number: int) -> tuple[float, float]:
    timers = FloorTimers()
    return by_calls(number, lambda delay: timers.after(delay, job), timers.cancel)


def with_loop(number: int, make: Callable[[], Any]) -> tuple[float, float]:
    loop = make()

    async def main() -> tuple[float, float]:
        return by_calls(
            number, lambda delay: loop.call_later(delay, job), lambda t: t.cancel()
        )

    try:
        return loop.run_until_complete(main())
    finally:
        loop.close()


def from_a_thread(number: int) -> tuple[float, float]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    made: list[Any] = []

    def set_timer(delay: float) -> None:
        loop.call_soon_threadsafe(lambda: made.append(loop.call_later(delay, job)))

    try:
        return by_calls(
            number,
            set_timer,
            lambda _: loop.call_soon_threadsafe(lambda: made.pop().cancel()),
        )
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def with_sched(number: int) -> tuple[float, float]:
    queue = sched.scheduler()
    return by_calls(number, lambda delay: queue.enter(delay, 0, job), queue.cancel)


def with_threads(number: int) -> tuple[float, float]:
    def set_timer(delay: float) -> threading.Timer:
        timer = threading.Timer(delay, job)
        timer.daemon = True
        timer.start()
        return timer

    return by_calls(number, set_timer, lambda timer: timer.cancel())


def with_apscheduler(number: int) -> tuple[float, float]:
    from apscheduler.schedulers.background import BackgroundScheduler

    logging.getLogger("apscheduler").setLevel(logging.CRITICAL)
    scheduler = BackgroundScheduler(timezone="UTC")
    scheduler.start()

    def set_timer(delay: float) -> Any:
        when = dt.datetime.now(dt.timezone.utc)
        due = when + dt.timedelta(seconds=delay)
        return scheduler.add_job(job, "date", run_date=due)

    try:
        return by_calls(number, set_timer, lambda timer: timer.remove())
    finally:
        scheduler.shutdown()


BY_APS4 = """
import datetime, sys, time
from apscheduler import Scheduler
from apscheduler.triggers.date import DateTrigger
def job(): pass
number = int(sys.argv[1])
with Scheduler() as scheduler:
    scheduler.start_in_background()
    due = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
    start = time.process_time()
    made = [scheduler.add_schedule(job, DateTrigger(due)) for _ in range(number)]
    middle = time.process_time()
    for each in made:
        scheduler.remove_schedule(each)
    end = time.process_time()
    print((middle - start) / number * 1e6, (end - middle) / number * 1e6)
"""


def with_apscheduler_4(number: int) -> tuple[float, float]:
    run = subprocess.run(
        [sys.executable, "-c", BY_APS4, str(number)],
        env={**os.environ, "PYTHONPATH": os.environ["APSCHEDULER4"]},
        capture_output=True,
        text=True,
        check=True,
    )
    first, second = run.stdout.split()[-2:]
    return float(first), float(second)


def setting(report: Report) -> Iterator[Row]:
    ways: dict[str, Callable[[], tuple[float, float]]] = {
        OURS: partial(with_cup, MANY),
        FLOOR: partial(with_floor, MANY),
        LOOP: partial(with_loop, MANY, asyncio.new_event_loop),
        FROM_THREAD: partial(from_a_thread, MANY),
        SCHED: partial(with_sched, 2000),
        TIMER: partial(with_threads, 300),
    }
    if report.needs("uvloop"):
        import uvloop

        ways[UVLOOP] = partial(with_loop, MANY, uvloop.new_event_loop)
    if report.needs("apscheduler"):
        ways[APS3] = partial(with_apscheduler, 1000)
    if os.environ.get("APSCHEDULER4"):
        ways[APS4] = partial(with_apscheduler_4, 200)
    yield Row(
        f"set a timer, {MANY} pending (fewer: sched, threads, APScheduler)",
        {name: lambda way=way: way()[0] for name, way in ways.items()},
        goals={
            FLOOR: 1.5,
            FROM_THREAD: 0.5,
            APS3: 1 / 20,
            APS4: 1 / 60,
            TIMER: 1 / 150,
        },
        limit=3.0,
    )
    yield Row(
        "cancel a timer, in random order",
        {name: lambda way=way: way()[1] for name, way in ways.items()},
        limit=1.5,
    )
    most = {OURS: with_cup, FLOOR: with_floor}
    yield Row(
        f"set a timer, {MOST} pending",
        {name: lambda way=way: way(MOST)[0] for name, way in most.items()},
        goals={FLOOR: 1.5},
    )
    yield Row(
        f"cancel a timer of {MOST}",
        {name: lambda way=way: way(MOST)[1] for name, way in most.items()},
        limit=1.5,
    )


# -- memory ----------------------------------------------------------------------------


def resident() -> int:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def in_fresh_process(body: Callable[[], float]) -> float:
    """Measure where no memory was used before."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, str(body()).encode())
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read) as pipe:
        return float(pipe.read())


def bytes_each(
    set_timer: Callable[[float], Any], cancel: Callable[[Any], object] | None
) -> float:
    wanted = delays(MOST)
    gc.collect()
    before = resident()
    timers = [set_timer(delay) for delay in wanted]
    time.sleep(0.3)  # what is put in order by another thread
    if cancel is not None:
        for timer in timers:
            cancel(timer)
        timers.clear()
        time.sleep(0.5)
        gc.collect()
    return (resident() - before) / MOST


def bytes_of_cup(cancelled: bool) -> float:
    service = ExecutionService()
    service.start()
    cancel = (lambda timer: timer.cancel()) if cancelled else None
    return bytes_each(lambda delay: service.after(delay, job), cancel)


def bytes_of_floor(cancelled: bool) -> float:
    timers = FloorTimers()
    return bytes_each(
        lambda delay: timers.after(delay, job), timers.cancel if cancelled else None
    )


def bytes_of_loop(cancelled: bool) -> float:
    loop = asyncio.new_event_loop()
    cancel = (lambda timer: timer.cancel()) if cancelled else None
    return bytes_each(lambda delay: loop.call_later(delay, job), cancel)


def memory() -> Iterator[Row]:
    ways = {OURS: bytes_of_cup, FLOOR: bytes_of_floor, LOOP: bytes_of_loop}
    for title, cancelled, limit in (
        (f"memory of each of {MOST} pending timers", False, 250.0),
        ("what is left of each when all were cancelled", True, 90.0),
    ):
        yield Row(
            title,
            {
                name: lambda way=way, c=cancelled: in_fresh_process(lambda: way(c))
                for name, way in ways.items()
            },
            unit="B",
            limit=limit,
        )


# -- being in time ---------------------------------------------------------------------

RATE = 1000
SECONDS = 1.5


def late(
    set_timer: Callable[[float, Callable[[], None]], object],
) -> list[float]:
    """Set timers at a steady rate; return by how many seconds each was late."""
    found: list[float] = []
    start = time.monotonic() + 0.1

    def note(due: float) -> None:
        found.append(time.monotonic() - due)

    number = int(RATE * SECONDS)
    for n in range(number):
        due = start + n / RATE
        set_timer(due - time.monotonic(), partial(note, due))
    deadline = start + SECONDS + 10
    while len(found) < number and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def late_by_cup(pending: int = 0) -> list[float]:
    with ExecutionService() as service:
        for delay in delays(pending):
            service.after(delay + 100, job)
        time.sleep(1.0 if pending else 0.0)
        return late(service.after)


def late_by_loop(make: Callable[[], Any]) -> list[float]:
    loop = make()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def set_timer(delay: float, fn: Callable[[], None]) -> None:
        due = time.monotonic() + delay
        loop.call_soon_threadsafe(lambda: loop.call_later(due - time.monotonic(), fn))

    try:
        return late(set_timer)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def while_spinning(measure: Callable[[], list[float]]) -> list[float]:
    """Measure beside a thread that computes."""
    over = threading.Event()

    def spin() -> None:
        while not over.is_set():
            sum(range(200))

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        return measure()
    finally:
        over.set()
        thread.join()


def part(found: list[float], hundredth: int) -> float:
    return statistics.quantiles(found, n=100)[hundredth - 1] * 1e3


def in_time(report: Report) -> Iterator[Row]:
    ways: dict[str, Callable[[], list[float]]] = {
        OURS: late_by_cup,
        FROM_THREAD: partial(late_by_loop, asyncio.new_event_loop),
    }
    if report.needs("uvloop"):
        import uvloop

        ways[UVLOOP] = partial(late_by_loop, uvloop.new_event_loop)
    for hundredth, goals, limit in (
        (50, {FROM_THREAD: 1 / 3.5}, 0.15),
        (99, {FROM_THREAD: 1.0}, None),
    ):
        yield Row(
            f"late at {RATE}/s, {hundredth} of 100 are below",
            {
                name: lambda way=way, p=hundredth: part(way(), p)
                for name, way in ways.items()
            },
            unit="ms",
            goals=goals,
            limit=limit,
        )
    yield Row(
        "late, 99 of 100 are below, beside a million pending timers",
        {
            OURS: lambda: part(late_by_cup(MOST), 99),
            "empty": lambda: part(late_by_cup(), 99),
        },
        unit="ms",
        goals={"empty": 1.5},
    )
    yield Row(
        "late beside a computing thread, 99 of 100 are below",
        {
            name: lambda way=way: part(while_spinning(way), 99)
            for name, way in ways.items()
        },
        unit="ms",
        goals={FROM_THREAD: 1.3},
    )
    yield Row(
        "early, of 1500",
        {
            name: lambda way=way: float(sum(seconds < 0 for seconds in way()))
            for name, way in ways.items()
        },
        unit="timers",
        limit=0.0,
    )


# -- firing ----------------------------------------------------------------------------


def processor_time(
    set_timer: Callable[[float, Callable[[], None]], object], number: int = 20_000
) -> float:
    """Return the processor time that each timer takes from its time to its job."""
    left = itertools.count(1)
    over = threading.Event()

    def ran() -> None:
        if next(left) == number:
            over.set()

    for n in range(number):
        set_timer(1.0 + n / number, ran)
    time.sleep(0.3)
    start = time.process_time()
    over.wait(60)
    return (time.process_time() - start) / number * 1e6


def fire_cup() -> float:
    with ExecutionService() as service:
        return processor_time(service.after)


def fire_loop() -> float:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        return processor_time(
            lambda delay, fn: loop.call_soon_threadsafe(loop.call_later, delay, fn)
        )
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def fire_apscheduler() -> float:
    from apscheduler.schedulers.background import BackgroundScheduler

    logging.getLogger("apscheduler").setLevel(logging.CRITICAL)
    scheduler = BackgroundScheduler(timezone="UTC")
    scheduler.start()

    def set_timer(delay: float, fn: Callable[[], None]) -> None:
        when = dt.datetime.now(dt.timezone.utc)
        due = when + dt.timedelta(seconds=delay)
        scheduler.add_job(fn, "date", run_date=due, misfire_grace_time=None)

    try:
        return processor_time(set_timer, 1000)
    finally:
        scheduler.shutdown()


def firing(report: Report) -> Iterator[Row]:
    ways = {OURS: fire_cup, "asyncio, on the loop itself": fire_loop}
    if report.needs("apscheduler"):
        ways[APS3] = fire_apscheduler
    yield Row("processor time of one timer that fires", dict(ways))


def rows(report: Report) -> Iterator[Row]:
    """Give what is measured."""
    yield from setting(report)
    yield from memory()
    yield from firing(report)
    yield from in_time(report)
