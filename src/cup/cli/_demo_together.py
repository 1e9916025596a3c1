"""One object, used from threads, an asyncio loop and a trio loop at the same time."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import sleep
from typing import TYPE_CHECKING, Final

from cup.services.threadpool import ThreadPool
from cup.thread import RWLock

from ._demo_loops import run_on
from ._demo_part import Part
from ._demo_threadpool import wait_until

if TYPE_CHECKING:
    from collections.abc import Generator

    from ._demo_part import Stage

__all__ = ["PARTS", "Page"]


def square(number: int) -> int:
    """Be the job."""
    return number * number


def use(pool: ThreadPool, meeting: threading.Barrier, numbers: range) -> list[int]:
    """Use the pool from a thread."""
    pool.run(meeting.wait)
    return list(pool.each(square, numbers))


async def use_in_tasks(
    pool: ThreadPool, meeting: threading.Barrier, numbers: range
) -> list[int]:
    """Use the same pool from an event loop."""
    await pool.aio.run(meeting.wait)
    return [result async for result in pool.aio.each(square, numbers)]


def share(stage: Stage) -> None:
    """Give one pool to three worlds, and count what each gets back."""
    jobs = stage.many(1500, 300)
    numbers = range(jobs)
    expected = [square(number) for number in numbers]
    # Passed only if jobs of all three run in the pool at the same time.
    meeting = threading.Barrier(3, timeout=5)

    with ThreadPool(max_workers=4) as pool, ThreadPool(max_workers=3) as worlds:
        answers = {
            "a thread": worlds.submit(use, pool, meeting, numbers),
            **{
                loop: worlds.submit(run_on, loop, use_in_tasks, pool, meeting, numbers)
                for loop in ("asyncio", "trio")
            },
        }
        for world, answer in answers.items():
            right = sum(map(int.__eq__, answer.result(), expected))
            stage.exactly(f"right results in {world}", right, jobs)
        report = pool.stop()
    met = 0 if meeting.broken else meeting.parties
    stage.exactly("worlds whose jobs met in the pool", met, 3)
    stage.exactly("jobs done by the pool", report.done, 3 + 3 * jobs)
    stage.exactly("jobs failed", pool.stats().failed, 0)


@dataclass(slots=True, kw_only=True)
class Page:
    """A number that is read and then written one higher, and the lock around it.

    Attributes:
        worlds: How many worlds edit it.
        hands: How many threads or tasks of each world do.
        times: How often each of them reads it, and writes it.
        lock: The lock.
        number: The number.
        together: How many readers there were when a world came for the first time.
        overlaps: Who was met by a writer, or met one.
    """

    worlds: int
    hands: int
    times: int
    lock: RWLock = field(default_factory=RWLock)
    number: int = 0
    together: list[int] = field(default_factory=list[int])
    overlaps: list[str] = field(default_factory=list[str])
    _reading: list[str] = field(default_factory=list[str])
    _writing: list[str] = field(default_factory=list[str])

    def arrive(self) -> None:
        """Come for the first time, as a reader."""
        self.together.append(len(self.lock.stats().readers))

    def all_here(self) -> bool:
        """Tell whether all worlds have come."""
        return len(self.together) == self.worlds

    @contextmanager
    def read(self, world: str) -> Generator[None, None, None]:
        """Be a reader for the length of a block."""
        self._reading.append(world)
        self.overlaps += self._writing
        yield
        self.overlaps += self._writing
        self._reading.remove(world)

    @contextmanager
    def write(self, world: str) -> Generator[None, None, None]:
        """Be a writer for the length of a block; what others write then is lost."""
        self.overlaps += self._writing + self._reading
        self._writing.append(world)
        number = self.number
        yield
        self.number = number + 1
        self._writing.remove(world)


def edit_in_threads(page: Page) -> None:
    """Edit a page from several threads."""
    with page.lock.read():
        page.arrive()
        wait_until(page.all_here)
    with ThreadPool(max_workers=page.hands) as pool:
        hands = [pool.submit(edit, page) for _ in range(page.hands)]
    for hand in hands:
        hand.result()


def edit(page: Page) -> None:
    """Edit a page from one thread."""
    for _ in range(page.times):
        with page.lock.read(), page.read("threads"):
            sleep(0)
        with page.lock.write(), page.write("threads"):
            sleep(0)


def share_lock(stage: Stage) -> None:
    """Give one lock to three worlds, and count who was where it should not be."""
    from ._demo_together_aio import edit_in_tasks  # noqa: PLC0415 - loads event loops

    page = Page(worlds=3, hands=4, times=stage.many(50, 20))
    with ThreadPool(max_workers=page.worlds) as worlds:
        editors = [
            worlds.submit(edit_in_threads, page),
            *(
                worlds.submit(run_on, loop, edit_in_tasks, page, loop)
                for loop in ("asyncio", "trio")
            ),
        ]
        for editor in editors:
            editor.result()
    stage.exactly("worlds that read at the same time", max(page.together), page.worlds)
    writes = page.worlds * page.hands * page.times
    stage.exactly("writes that are in the result", page.number, writes)
    stage.exactly("writers that were not alone", len(page.overlaps), 0)
    stage.exactly("locks still held in the end", int(page.lock.locked()), 0)


PARTS: Final = (
    Part("threadpool.share", "one pool for a thread, asyncio and trio", share),
    Part("thread.share", "one lock for threads, asyncio and trio", share_lock),
)
