"""A program that writes to a log until it is killed, and prints what is durable.

Run as `python -m cup.cli._demo_serializer_writer threads|asyncio|trio DIRECTORY`.
"""

from __future__ import annotations

import os
import sys
from itertools import count
from typing import Final

from cup.services.serializer import Log
from cup.services.threadpool import ThreadPool

__all__ = ["HANDS", "SEGMENT", "payload"]

HANDS: Final = 6
"""How many append at the same time."""
SEGMENT: Final = 1 << 16
"""Bytes of one file."""


def payload(hand: int, number: int) -> bytes:
    """Return what a hand appends as its so-manieth record."""
    return b"%d %d " % (hand, number) + b"." * (number * 61 % 500)


def tell(record: int, hand: int, number: int) -> None:
    """Say that a record is durable; a line of a pipe arrives as a whole."""
    os.write(1, b"%d %d %d\n" % (record, hand, number))


def in_threads(directory: str) -> None:
    """Append in threads."""
    log = Log.open(directory, segment_bytes=SEGMENT)

    def append(hand: int) -> None:
        for number in count():
            tell(log.append(payload(hand, number)), hand, number)

    with ThreadPool(max_workers=HANDS) as pool:
        for hand in range(HANDS):
            pool.submit(append, hand)


def in_tasks(directory: str, backend: str) -> None:
    """Append in tasks."""
    import anyio  # noqa: PLC0415 - loads event loops

    from cup.services.serializer import AsyncLog  # noqa: PLC0415 - the same

    async def main() -> None:
        log = await AsyncLog.open(directory, segment_bytes=SEGMENT)

        async def append(hand: int) -> None:
            for number in count():
                tell(await log.append(payload(hand, number)), hand, number)

        async with anyio.create_task_group() as tasks:
            for hand in range(HANDS):
                tasks.start_soon(append, hand)

    anyio.run(main, backend=backend)


if __name__ == "__main__":
    how, where = sys.argv[1:]
    if how == "threads":
        in_threads(where)
    else:
        in_tasks(where, how)
