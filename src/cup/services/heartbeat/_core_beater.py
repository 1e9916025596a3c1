"""What users call of an agent, in threads and tasks alike: all that never waits.

Not here: what it does by itself (`_core_agent`), starting and stopping (the faces).
"""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from cup._core import fork
from cup._core.clock import SYSTEM
from cup._core.datagrams import Datagrams, parse_addresses
from cup._core.program import perform
from cup.errors import (
    ForkedProcess,
    HeartbeatClosed,
    HeartbeatError,
    InvalidKey,
    InvalidType,
    InvalidValue,
)

from ._core_agent import AgentProgram, AgentSettings, Link
from ._core_files import write_whole
from ._core_settings import PORT
from ._core_tables import check_seconds
from .keys import AgentKeys, KeyRing

if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike

    from cup._core.datagrams import Address

    from .api_net import AgentStats, Listen
    from .device import Device

__all__ = ["Beater", "agent_settings"]

_log = logging.getLogger("cup.heartbeat")

_NANOS = 1_000_000_000
_MOST = 1 << 63  # a number of a life has 64 bits; half of them last until 2262


def agent_settings(
    name: str,
    monitors: Listen,
    *,
    keys: KeyRing | AgentKeys,
    timeout: float,
    interval: float | None,
    alive: Callable[[], bool] | None,
    device: Device | None,
    by_hand: bool,
) -> AgentSettings:
    """Check what an agent is to be set to.

    Raises:
        InvalidKey: If there are no keys, or they are those of another.
        InvalidType: If an argument has the wrong type.
        InvalidValue: If a number makes no sense, or there is no monitor.
    """
    timeout = check_seconds("timeout", timeout)
    interval = timeout / 3 if interval is None else check_seconds("interval", interval)
    if interval >= timeout:
        raise InvalidValue(
            f"interval is {interval}; give less than the {timeout} s of the time-out, "
            "a third at best"
        )
    places = tuple(parse_addresses(monitors, PORT))
    if not places:
        raise InvalidValue("an agent beats to one monitor at least")
    if not all(host for host, _ in places):
        raise InvalidValue(f"the monitors are {monitors!r}; give each a host")
    if alive is not None and not callable(alive):
        raise InvalidType(f"alive must be callable, not {alive!r}")
    return AgentSettings(
        keys=_keys_of(name, keys),
        monitors=places,
        interval=None if by_hand else interval,
        timeout=timeout,
        alive=alive,
        device=device,
    )


def _keys_of(name: str, keys: object) -> AgentKeys:
    if isinstance(keys, KeyRing):
        return keys.agent(name)
    if not isinstance(keys, AgentKeys):
        raise InvalidKey(
            f"keys must be a KeyRing or AgentKeys, not {type(keys).__name__}; "
            "UNAUTHENTICATED is one, for networks in which everybody is trusted"
        )
    if keys.name != name:
        raise InvalidKey(f"these are the keys of {keys.name!r}, not of {name!r}")
    return keys


class _Lives:
    """Numbers the lives of an agent, upwards; in a file, if it is given one."""

    def __init__(self, name: str, path: str | PathLike[str] | None) -> None:
        self._name: str = name
        self._path: Path | None = None if path is None else Path(path)

    def begin(self) -> int:
        """Return the number of a new life."""
        kept = 0
        if self._path is not None:
            with contextlib.suppress(OSError, ValueError):
                kept = int(self._path.read_text(encoding="ascii"))
        if not 0 <= kept < _MOST:
            _log.error(
                "the life of agent %r is damaged; a new one is begun", self._name
            )
            kept = 0
        incarnation = max(kept + 1, int(SYSTEM.time() * _NANOS))
        self.keep(incarnation)
        return incarnation

    def keep(self, incarnation: int) -> None:
        """Remember the number of this life."""
        if self._path is not None:
            try:
                write_whole(self._path, [f"{incarnation}\n"])
            except OSError as error:
                _log.error("the life of agent %r cannot be kept: %s", self._name, error)


class Beater:
    """An agent: its program, its sockets, and its file."""

    __slots__ = (
        "__weakref__",
        "_generation",
        "_lives",
        "_program",
        "_settings",
        "_sockets",
        "_stopped",
        "name",
    )

    def __init__(
        self, settings: AgentSettings, state: str | PathLike[str] | None
    ) -> None:
        self.name: str = settings.keys.name
        self._settings: AgentSettings = settings
        self._lives: _Lives = _Lives(self.name, state)
        self._sockets: list[Datagrams] = []
        self._stopped: bool = False
        self._generation: int = fork.generation()
        self._program: AgentProgram = AgentProgram(settings, 0, SYSTEM)
        self._program.on_bump = self._lives.keep

    # -- beginning and end: called by the faces ------------------------------------

    def _check(self) -> None:
        if self._generation != fork.generation():
            raise ForkedProcess(
                "an agent beats for the process that made it; make one in the child"
            )

    def _check_runs(self) -> None:
        self._check()
        if not self._sockets:
            raise HeartbeatClosed("this agent does not run: start it, or use `with`")

    def _open(self, resolved: list[tuple[int, Address]]) -> None:
        """Make the sockets, and begin a life."""
        self._check()
        if self._stopped:
            raise HeartbeatClosed("this agent has ended; make a new one")
        if self._sockets:
            raise HeartbeatError("this agent runs already")

        self._program.incarnation = self._lives.begin()
        families: dict[int, Datagrams] = {}
        links: list[Link] = []
        for family, address in resolved:
            if family not in families:
                families[family] = Datagrams(family)
            links.append(Link(address, families[family]))
        self._sockets = [*families.values()]
        self._program.links = links
        # Whoever has started an agent has beaten, even if it ends at once.
        perform(self._program, SYSTEM.monotonic())

    def _close(self, *, leave: bool) -> None:
        """Say good-bye, if the end is a good one, and close the sockets."""
        if self._stopped or self._generation != fork.generation():
            return

        self._stopped = True
        if leave and self._sockets:
            self._program.leave()
        self._program.links = ()
        for each in self._sockets:
            each.close()
        self._sockets = []

    # -- looking and doing ---------------------------------------------------------

    @property
    def healthy(self) -> bool:
        """Whether it runs, and has beaten in time: what a supervisor should look at."""
        return bool(self._sockets) and self.stats().healthy

    def stats(self) -> AgentStats:
        """Return the figures of this moment."""
        return self._program.stats()

    def set_keys(self, keys: KeyRing | AgentKeys) -> None:
        """Sign with the first of these keys from the next beat on.

        Raises:
            InvalidKey: If they are no keys, or those of another agent.
        """
        checked = _keys_of(self.name, keys)
        self._program.calls.append(lambda: self._program.set_keys(checked))

    def __repr__(self) -> str:
        stats, name = self.stats(), type(self).__name__
        state = "runs" if self._sockets else "does not run"
        return f"<{name} {self.name!r} {state}, {stats.beats} beats>"
