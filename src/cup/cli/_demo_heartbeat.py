"""Heartbeats, in threads; their twin for tasks is `_demo_heartbeat_aio`.

The agents are processes of their own: one is killed, one ends its work.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cup.services.heartbeat import (
    HeartbeatService,
    KeyRing,
    Monitor,
    new_key,
)

from ._demo_part import Part

if TYPE_CHECKING:
    from collections.abc import Generator

    from cup.services.heartbeat import Events, HeartbeatEvent, HeartbeatStats

    from ._demo_part import Stage

__all__ = ["PARTS"]

TIMEOUT: Final = 1.2
PATIENCE: Final = 10.0  # seconds until what was to happen counts as not happened
HERE: Final = "127.0.0.1:0"
SILENT: Final = 0.8  # seconds that a device in this process may be silent


@dataclass(slots=True)
class Swarm:
    """Agents in processes of their own.

    Attributes:
        count: How many there are.
        key: What they sign with.
        agents: The processes, by their names.
    """

    count: int
    key: str = field(default_factory=new_key)
    agents: dict[str, subprocess.Popen[bytes]] = field(
        default_factory=dict[str, "subprocess.Popen[bytes]"]
    )

    @property
    def ring(self) -> KeyRing:
        """What a monitor verifies them with."""
        return KeyRing.from_text(self.key)

    @contextmanager
    def beating_to(self, address: str) -> Generator[None, None, None]:
        """Have them beat, for the length of a block."""
        command = [sys.executable, "-m", "cup", "heartbeat", "beat", "--to", address]
        command += ["--for", "60"]  # they do not outlive a demo that is killed for long
        environment = {**os.environ, "CUP_HEARTBEAT_KEY": self.key}
        try:
            for n in range(self.count):
                words = [*command, "--timeout", str(TIMEOUT), "--name", f"agent{n}"]
                self.agents[f"agent{n}"] = subprocess.Popen(words, env=environment)  # noqa: S603 - this very program
            yield
        finally:
            for agent in self.agents.values():
                agent.kill()
            for agent in self.agents.values():
                agent.wait()

    def kill(self) -> None:
        """Kill the first: it cannot say good-bye."""
        self.agents["agent0"].kill()

    def end(self) -> None:
        """Have the second end as it should."""
        self.agents["agent1"].send_signal(signal.SIGTERM)


def told(event: HeartbeatEvent) -> str:
    """Shorten an event."""
    return f"{event.kind} {event.key}"


def state_joined(stage: Stage, joined: list[str], count: int) -> None:
    """State who has joined."""
    everybody = sorted(f"joined agent{n}" for n in range(count))
    stage.exactly("agents that joined", sorted(joined), everybody)


def state_ends(stage: Stage, lost: HeartbeatEvent, left: HeartbeatEvent) -> None:
    """State what was told of two ends."""
    stage.exactly("told of the agent that was killed", told(lost), "lost agent0")
    soon = lost.silent <= TIMEOUT + 2 * TIMEOUT / 10 + 1  # and a busy machine
    stage.exactly("that was told in time", str(soon), "True")
    stage.exactly("told of the agent that ended", told(left), "left agent1")


def of_agent(events: Events) -> HeartbeatEvent:
    """Return the next event of an agent: on a busy machine there are others, too."""
    while True:
        event = events.get(PATIENCE)
        if event.key:
            return event


def kill(stage: Stage) -> None:
    """Kill an agent, end another; a monitor tells the one from the other."""
    swarm = Swarm(stage.many(6, 3))
    with Monitor(HERE, keys=swarm.ring, timeout=TIMEOUT) as monitor:
        events = monitor.events()
        with swarm.beating_to(monitor.addresses[0]):
            joined = [told(of_agent(events)) for _ in range(swarm.count)]
            state_joined(stage, joined, swarm.count)
            swarm.kill()
            lost = of_agent(events)
            swarm.end()
            state_ends(stage, lost, of_agent(events))
            alive = monitor.stats().devices
            stage.exactly("agents that are alive", alive, swarm.count - 2)
        stats = monitor.stats()
        stage.exactly("packets refused", stats.forged + stats.garbage, 0)


def refuse(stage: Stage) -> None:
    """Have agents beat with a key that the monitor does not have."""
    swarm = Swarm(1)
    ring = KeyRing.from_text(new_key())
    with Monitor(HERE, keys=ring, timeout=TIMEOUT) as monitor:
        with swarm.beating_to(monitor.addresses[0]):
            deadline = time.monotonic() + PATIENCE
            while not monitor.stats().unknown_key and time.monotonic() < deadline:
                time.sleep(0.01)
        stats = monitor.stats()
    state_refused(stage, stats.unknown_key, stats.devices, stats.events)


def state_refused(stage: Stage, refused: int, devices: int, events: int) -> None:
    """State what became of packets with another key."""
    stage.exactly("packets with another key were refused", str(refused > 0), "True")
    stage.exactly("agents that joined by them", devices, 0)
    stage.exactly("events that they caused", events, 0)


def watch(stage: Stage) -> None:
    """Watch many devices in this process, of which some fall silent."""
    devices = stage.many(20_000, 5_000)
    silent = devices // 100
    service = HeartbeatService(SILENT, keep_lost=True)
    keys = [f"device{n}" for n in range(devices)]
    events = service.events(limit=2 * devices)
    service.refresh_many(keys)
    lost: set[str] = set()
    while len(lost) < silent:
        service.refresh_many(keys[silent:])
        lost |= {device.get_name() for device in service.get_lost()}
        time.sleep(SILENT / 10)
    state_watched(stage, service.stats(), devices, silent)
    stage.exactly("devices that beat and were lost", len(lost & {*keys[silent:]}), 0)
    service.refresh(keys[0])
    kinds: list[str] = [
        str(events.get(PATIENCE).kind) for _ in range(devices + silent + 1)
    ]
    stage.exactly("the last of their events", kinds[-1], "recovered")
    stage.exactly("losses that were told", kinds.count("lost"), silent)
    service.cleanup_oldlost(stage.folder / "lost")
    with (stage.folder / "lost").open(encoding="utf-8") as file:
        stage.exactly("losses in a file", len(file.readlines()), silent - 1)


def state_watched(
    stage: Stage, stats: HeartbeatStats, devices: int, silent: int
) -> None:
    """State how many there were."""
    stage.exactly("devices that joined", stats.joined, devices)
    stage.exactly("devices lost, each once", stats.lost, silent)


WATCH: Final = Part("heartbeat.watch", "watch devices in one process", watch)
KILL: Final = Part("heartbeat.kill", "kill one of several agents", kill)
REFUSE: Final = Part("heartbeat.refuse", "refuse packets with another key", refuse)

PARTS: Final[tuple[Part, ...]] = (WATCH, KILL, REFUSE)
