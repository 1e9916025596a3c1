"""Waiting for what happens, in tasks; its twin for threads is `_demo_autowait`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
from anyio.lowlevel import checkpoint

from cup.errors import ConditionTimeout, WaitFailed
from cup.services.autowait import (
    FileComplete,
    FileExists,
    PortOpen,
    ProcessGone,
    RegexInFile,
    aio,
)

from . import _demo_autowait as twin
from ._demo_autowait import CROWD, LISTENING, LONG
from ._demo_part import AsyncPart

if TYPE_CHECKING:
    from pathlib import Path

    from ._demo_part import Stage

__all__ = ["PARTS"]


async def events(stage: Stage) -> None:
    """Follow another process: its file, its log, its port, its end."""
    with twin.server_in(stage.folder) as pid:
        ready = stage.folder / "run" / "ready"
        file = await aio.wait(FileComplete(ready, quiet=0.05), LONG)
        line = await aio.wait(RegexInFile(stage.folder / "app.log", LISTENING), LONG)
        port = await aio.wait(PortOpen(int(line.match[1])), LONG)
        twin.tell_server(stage, file, line, port)
        (stage.folder / "stop").touch()
        await aio.wait(ProcessGone(pid), LONG)
        gone = await aio.satisfied(ProcessGone(pid))
        stage.exactly("processes left", 1 - gone, 0)


async def failing(stage: Stage) -> None:
    """Give up in time, and early where it is known to be in vain."""
    twin.prepare_log(stage.folder)
    try:
        await aio.wait(RegexInFile(stage.folder / "app.log", "^ready$"), 0.05)
    except ConditionTimeout as error:
        twin.tell_time_out(stage, error)
    with twin.server_in(stage.folder, "fail") as pid:
        never = RegexInFile(stage.folder / "app.log", "^never$")
        try:
            await aio.wait(never.fail_if(ProcessGone(pid)), LONG)
        except WaitFailed as error:
            twin.tell_failure(stage, error)


async def many(stage: Stage) -> None:
    """Wait a hundred times at once; one helper thread listens for all."""
    paths = [stage.folder / f"file{n}" for n in range(CROWD)]
    found: dict[int, Path] = {}

    async def one(number: int) -> None:
        found[number] = await aio.wait(FileExists(paths[number]), LONG)

    async with anyio.create_task_group() as tasks:
        for number in range(CROWD):
            tasks.start_soon(one, number)
        for path in reversed(paths):
            await checkpoint()
            path.touch()
    twin.tell_many(stage, [found[number] for number in range(CROWD)], paths)


PARTS: Final[tuple[AsyncPart, ...]] = tuple(
    AsyncPart(part, run)
    for part, run in zip(twin.PARTS, (events, failing, many), strict=True)
)
