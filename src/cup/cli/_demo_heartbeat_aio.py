"""Heartbeats, in tasks; their twin for threads is `_demo_heartbeat`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
import anyio.lowlevel

from cup.services.heartbeat import (
    AsyncHeartbeatService,
    AsyncMonitor,
    KeyRing,
    new_key,
)

from . import _demo_heartbeat as twin
from ._demo_heartbeat import (
    HERE,
    PATIENCE,
    SILENT,
    TIMEOUT,
    Swarm,
    state_ends,
    state_joined,
    state_refused,
    state_watched,
    told,
)
from ._demo_part import AsyncPart

if TYPE_CHECKING:
    from cup.services.heartbeat import AsyncEvents, HeartbeatEvent

    from ._demo_part import Stage

__all__ = ["PARTS"]


AT_ONCE: Final = 1000  # devices that join at once


async def watch(stage: Stage) -> None:
    """Watch many devices in this process, of which some fall silent."""
    devices = stage.many(20_000, 5_000)
    silent = devices // 100
    service = AsyncHeartbeatService(SILENT, keep_lost=True)
    keys = [f"device{n}" for n in range(devices)]
    events = service.events(limit=2 * devices)
    for at in range(0, devices, AT_ONCE):
        service.refresh_many(keys[at : at + AT_ONCE])
        await anyio.lowlevel.checkpoint()  # others may run
    lost: set[str] = set()
    while len(lost) < silent:
        service.refresh_many(keys[silent:])
        lost |= {device.get_name() for device in service.get_lost()}
        await anyio.sleep(SILENT / 10)
    state_watched(stage, service.stats(), devices, silent)
    stage.exactly("devices that beat and were lost", len(lost & {*keys[silent:]}), 0)
    service.refresh(keys[0])
    kinds: list[str] = [
        str((await events.get(PATIENCE)).kind) for _ in range(devices + silent + 1)
    ]
    stage.exactly("the last of their events", kinds[-1], "recovered")
    stage.exactly("losses that were told", kinds.count("lost"), silent)
    path = anyio.Path(stage.folder / "lost")
    await service.cleanup_oldlost(path)
    lines = (await path.read_text(encoding="utf-8")).splitlines()
    stage.exactly("losses in a file", len(lines), silent - 1)


async def of_agent(events: AsyncEvents) -> HeartbeatEvent:
    """Return the next event of an agent: on a busy machine there are others, too."""
    while True:
        event = await events.get(PATIENCE)
        if event.key:
            return event


async def kill(stage: Stage) -> None:
    """Kill an agent, end another; a monitor tells the one from the other."""
    swarm = Swarm(stage.many(6, 3))
    async with AsyncMonitor(HERE, keys=swarm.ring, timeout=TIMEOUT) as monitor:
        events = monitor.events()
        with swarm.beating_to(monitor.addresses[0]):
            joined = [told(await of_agent(events)) for _ in range(swarm.count)]
            state_joined(stage, joined, swarm.count)
            swarm.kill()
            lost = await of_agent(events)
            swarm.end()
            state_ends(stage, lost, await of_agent(events))
            alive = monitor.stats().devices
            stage.exactly("agents that are alive", alive, swarm.count - 2)
        stats = monitor.stats()
        stage.exactly("packets refused", stats.forged + stats.garbage, 0)


async def refuse(stage: Stage) -> None:
    """Have agents beat with a key that the monitor does not have."""
    swarm = Swarm(1)
    ring = KeyRing.from_text(new_key())
    async with AsyncMonitor(HERE, keys=ring, timeout=TIMEOUT) as monitor:
        with swarm.beating_to(monitor.addresses[0]), anyio.move_on_after(PATIENCE):
            while not monitor.stats().unknown_key:  # noqa: ASYNC110 - nobody tells
                await anyio.sleep(0.01)
        stats = monitor.stats()
    state_refused(stage, stats.unknown_key, stats.devices, stats.events)


PARTS: Final = (
    AsyncPart(twin.WATCH, watch),
    AsyncPart(twin.KILL, kill),
    AsyncPart(twin.REFUSE, refuse),
)
