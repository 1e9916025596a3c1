"""One pool, used from a thread, an asyncio loop and a trio loop at the same time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from cup.services.threadpool import ThreadPool

from ._demo_loops import run_on
from ._demo_part import Part

if TYPE_CHECKING:
    from ._demo_part import Stage

__all__ = ["PARTS"]


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


PARTS: Final = (
    Part("threadpool.share", "one pool for a thread, asyncio and trio", share),
)
