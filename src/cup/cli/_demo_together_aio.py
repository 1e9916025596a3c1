"""What tasks do in `_demo_together`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
from anyio.lowlevel import checkpoint

from ._demo_threadpool_aio import wait_until

if TYPE_CHECKING:
    from ._demo_together import Page

__all__ = ["edit_in_tasks"]


async def edit_in_tasks(page: Page, loop: str) -> None:
    """Edit a page from several tasks of this loop."""
    async with page.lock.aio.read():
        page.arrive()
        await wait_until(page.all_here)
    async with anyio.create_task_group() as group:
        for _ in range(page.hands):
            group.start_soon(edit, page, loop)


async def edit(page: Page, loop: str) -> None:
    """Edit a page from one task."""
    lock = page.lock.aio
    for _ in range(page.times):
        async with lock.read():
            with page.read(loop):
                await checkpoint()
        async with lock.write():
            with page.write(loop):
                await checkpoint()
