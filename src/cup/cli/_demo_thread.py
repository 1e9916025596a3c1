"""Locks and interrupts, in threads; the twin for tasks is `_demo_thread_aio`."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import partial
from time import sleep
from typing import TYPE_CHECKING, Final

from cup.errors import LockDeadlock, LockTimeout
from cup.services.threadpool import ThreadPool
from cup.thread import CupThread, RWLock

from ._demo_part import Part
from ._demo_threadpool import PATIENCE, counted, opened_at_last, wait_until

if TYPE_CHECKING:
    from cup.thread import AsyncRWLock, LockStats

    from ._demo_part import Stage

__all__ = ["PARTS"]

TERMINATED: Final = "ThreadTermException"


@dataclass(slots=True)
class Visits:
    """Who was let in by a lock, and whom they met there.

    Attributes:
        order: What each of them came for.
        together: How many readers each reader saw, itself included.
        met: How many readers each writer saw.
    """

    order: list[str] = field(default_factory=list[str])
    together: list[int] = field(default_factory=list[int])
    met: list[int] = field(default_factory=list[int])

    def reads(self, stats: LockStats) -> None:
        """Note a reader that is inside."""
        self.order.append("read")
        self.together.append(len(stats.readers))

    def writes(self, stats: LockStats) -> None:
        """Note a writer that is inside."""
        self.order.append("write")
        self.met.append(len(stats.readers))

    def tell(self, stage: Stage, readers: int) -> None:
        """State that so many readers and a writer took turns, twice."""
        stage.exactly("most readers together", max(self.together), readers)
        turns = [f"{readers} read", "1 write"]
        stage.exactly("let in, in this order", counted(self.order), turns * 2)
        stage.exactly("readers that two writers met", sum(self.met), 0)


@dataclass(slots=True)
class Sheet:
    """What is written in two steps, that nobody may see one of."""

    left: int = 0
    right: int = 0

    def write(self) -> None:
        """Take both steps, and some time in between."""
        self.left += 1
        compute()
        self.right += 1


@dataclass(slots=True)
class Loops:
    """Endless loops in Python code, and what ended them."""

    begun: list[str] = field(default_factory=list[str])
    ended: list[str] = field(default_factory=list[str])

    def loop(self, gate: threading.Event) -> None:
        """Run one; it is to end before the gate opens."""
        try:
            self.begun.append("a loop")
            compute_until(gate)  # a loop right here may miss the handler: CPython 3.13
        except BaseException as error:
            self.ended.append(type(error).__name__)
            raise

    def have_begun(self, loops: int) -> bool:
        """Tell whether so many have begun."""
        return len(self.begun) == loops


def turns(stage: Stage) -> None:
    """Have readers and writers ask while readers are inside; watch who comes when."""
    readers = stage.many(8, 4)
    lock = RWLock()
    visits = Visits()
    asked = 0

    def read() -> None:
        with lock.read():
            visits.reads(lock.stats())
            gate.wait()

    def write() -> None:
        with lock.write():
            visits.writes(lock.stats())

    with ThreadPool(max_workers=2 * readers + 2) as pool, opened_at_last() as gate:
        for act, times in [(read, readers), (write, 1)] * 2:
            for _ in range(times):
                pool.submit(act)
            asked += times
            wait_until(partial(has_met, lock, asked))
    visits.tell(stage, readers)


def hold(stage: Stage) -> None:
    """Ask for what is held, keep a part of what is held, read without holding."""
    lock = RWLock()
    stage.exactly("a time-out says", refused(lock, "editor"), "editor writes")

    got = "the lock"
    with lock.read():
        try:
            lock.acquire_writelock()
        except LockDeadlock as error:
            got = type(error).__name__
    stage.exactly("who reads and waits to write gets", got, "LockDeadlock")

    downgrade(stage, lock)

    stamp = lock.stamp()
    with lock.read():
        valid = [lock.validate(stamp)]
    with lock.write():
        valid.append(lock.validate(stamp))
    valid.append(lock.validate(stamp))
    tell_valid(stage, valid)


def refused(lock: RWLock, holder: str) -> str:
    """Give what a time-out says while a thread of that name writes."""

    def write() -> None:
        with lock.write():
            gate.wait()

    said = "nothing"
    thread = CupThread(target=write, name=holder)
    with opened_at_last() as gate:
        thread.start()
        wait_until(lock.locked)
        try:
            lock.acquire_readlock(0.01)
        except LockTimeout as error:
            said = holder_in(error)
    thread.join()
    return said


def downgrade(stage: Stage, lock: RWLock) -> None:
    """Write, then read on, while another reader and another writer wait."""
    page = ["mine"]

    def read() -> str:
        with lock.read():
            return page[-1]

    def write() -> None:
        with lock.write():
            page.append("theirs")

    with ThreadPool(max_workers=2) as pool:
        with lock.write() as guard:
            reader, writer = pool.submit(read), pool.submit(write)
            wait_until(partial(has_met, lock, 3))
            guard.downgrade()
            theirs = reader.result(PATIENCE)
            kept = page[-1]
        stage.exactly("after a downgrade, who waited to read, reads", theirs, "mine")
        stage.exactly("and who has downgraded, reads on", kept, "mine")
        writer.result(PATIENCE)
    stage.exactly("and who waited to write, has written then", page[-1], "theirs")


def interrupt(stage: Stage) -> None:
    """Have jobs loop endlessly, and end them in every way there is."""
    loops = Loops()
    with ThreadPool(max_workers=1) as pool, opened_at_last() as gate:
        worker = pool.run(threading.current_thread)
        job = pool.submit(loops.loop, gate)
        wait_until(partial(loops.have_begun, 1))
        job.interrupt()
        error = type(job.exception(PATIENCE)).__name__
        stage.exactly("who waits for an interrupted loop gets", error, "JobCancelled")
        stage.exactly("the loop itself gets", [*loops.ended], ["JobInterrupted"])

        late = pool.options(run_timeout=0.02).submit(loops.loop, gate)
        error = type(late.exception(PATIENCE)).__name__
        stage.exactly("who waits for one over its run_timeout", error, "RunTimeout")
        same = pool.run(threading.current_thread) is worker
        stage.exactly("workers that this has cost", int(not same), 0)

    number = stage.many(8, 4)
    pool = ThreadPool(minthreads=number, maxthreads=number)
    with pool, opened_at_last() as gate:
        ended = let_go(pool, gate, number)
        told = [f"{number} JobInterrupted"]
        stage.exactly(f"{number} loops that are not awaited any more get", ended, told)
        stop_by_force(stage, pool, gate, number)


def let_go(pool: ThreadPool, gate: threading.Event, number: int) -> list[str]:
    """Interrupt so many endless loops together; say what ended them."""
    loops = Loops()
    jobs = [pool.submit(loops.loop, gate) for _ in range(number)]
    wait_until(partial(loops.have_begun, number))
    for job in jobs:
        job.interrupt()
    for job in jobs:
        job.exception(PATIENCE)
    return counted(loops.ended)


def stop_by_force(
    stage: Stage, pool: ThreadPool, gate: threading.Event, number: int
) -> None:
    """Stop a pool whose workers all loop endlessly."""
    loops = Loops()
    jobs = [pool.submit(loops.loop, gate) for _ in range(number)]
    wait_until(partial(loops.have_begun, number))
    left = pool.stop(force_stop=True).still_running
    stage.exactly("loops that a forced stop leaves running", len(left), 0)
    errors = [type(job.exception(PATIENCE)).__name__ for job in jobs]
    told = [f"{number} JobCancelled"]
    stage.exactly("who waits for these gets", counted(errors), told)


def terminate(stage: Stage) -> None:
    """End threads while they wait for a lock, and while they hold it."""
    readers = stage.many(8, 4)
    lock = RWLock()
    visits = Visits()

    def read() -> None:
        with lock.read():
            visits.reads(lock.stats())

    def write() -> None:
        with lock.write():
            visits.writes(lock.stats())

    with ThreadPool(max_workers=readers) as pool:
        with lock.read():
            writer = CupThread(target=write)
            writer.start()
            wait_until(partial(has_met, lock, 2))
            jobs = [pool.submit(read) for _ in range(readers)]
            wait_until(partial(has_met, lock, 2 + readers))
            writer.terminate(times=3)
            ended = type(writer.exception).__name__
            stage.exactly("a thread that waits to write ends by", ended, TERMINATED)
            for job in jobs:
                job.result(PATIENCE)
        stage.exactly("let in behind it", counted(visits.order), [f"{readers} read"])

    sheet = Sheet()
    threads = stage.many(10, 3)
    tell_cut_off(stage, [cut_off(lock, sheet) for _ in range(threads)], sheet)
    stage.exactly("locks that they took along", int(lock.locked()), 0)


def cut_off(lock: RWLock, sheet: Sheet) -> str:
    """Start a thread that writes on and on, end it, and say what ended it."""
    before = sheet.left

    def write() -> None:
        while not gate.is_set():
            with lock.write():
                sheet.write()

    thread = CupThread(target=write)
    with opened_at_last() as gate:
        thread.start()
        wait_until(lambda: sheet.left > before)
        thread.terminate(times=3)
    thread.join()
    return type(thread.exception).__name__


def tell_cut_off(stage: Stage, ended: list[str], sheet: Sheet) -> None:
    """State that threads were ended, and no write of theirs halfway."""
    stage.exactly(
        f"{len(ended)} threads that write on and on end by",
        counted(ended),
        [f"{len(ended)} {TERMINATED}"],
    )
    stage.exactly("writes that were cut in half", sheet.left - sheet.right, 0)


def tell_valid(stage: Stage, valid: list[bool]) -> None:
    """State whether an optimistic read was valid at three moments."""
    stage.exactly(
        "optimistic read valid while one reads, writes, has written",
        ["yes" if answer else "no" for answer in valid],
        ["yes", "no", "no"],
    )


def compute() -> None:
    """Keep the interpreter busy for a moment, then let others have it."""
    for _ in range(2000):
        pass
    sleep(0.0005)


def compute_until(gate: threading.Event) -> None:
    """Keep the interpreter busy until a gate opens."""
    while not gate.is_set():
        compute()


def has_met(lock: RWLock | AsyncRWLock, number: int) -> bool:
    """Tell whether so many hold the lock or wait for it."""
    stats = lock.stats()
    waiting = stats.waiting_readers + stats.waiting_writers
    return len(stats.readers) + (stats.writer is not None) + waiting == number


def holder_in(error: LockTimeout) -> str:
    """Give what a message says about who holds the lock."""
    return str(error).partition(": ")[2].partition(",")[0]


TURNS: Final = Part("thread.turns", "readers together, writers alone, in turns", turns)
HOLD: Final = Part("thread.hold", "time out, downgrade, read without a lock", hold)
INTERRUPT: Final = Part("thread.interrupt", "interrupt what never ends", interrupt)
TERMINATE: Final = Part("thread.terminate", "end threads, lose no lock", terminate)

PARTS: Final[tuple[Part, ...]] = (TURNS, HOLD, INTERRUPT, TERMINATE)
