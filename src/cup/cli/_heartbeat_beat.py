"""`cup heartbeat beat`: an agent for shell scripts and for systemd."""

from __future__ import annotations

import json
import platform
import subprocess
import threading
from contextlib import ExitStack
from dataclasses import asdict
from time import monotonic
from typing import TYPE_CHECKING, Final

from typing_extensions import Self

from cup.services.heartbeat import Agent, Device, LinuxHost, MacHost
from cup.services.heartbeat.systemd import Systemd

from ._heartbeat_end import End, until_ended

if TYPE_CHECKING:
    from argparse import Namespace

    from cup.services.heartbeat import AgentKeys, KeyRing

__all__ = ["beat"]

_LOOK: Final = 0.1  # seconds between two looks at the command
_GRACE: Final = 10.0  # seconds that a command gets to end by SIGTERM
_READ_EVERY: Final = 10.0


class Check:
    """Runs a shell command again and again, and remembers how it ended."""

    def __init__(self, command: str, every: float) -> None:
        self._command = command
        self._every = every
        self._good_at = float("-inf")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def good(self) -> bool:
        """Tell whether it succeeded lately."""
        return monotonic() - self._good_at < 3 * self._every

    def _run(self) -> None:
        while not self._stop.is_set():
            self._once()
            self._stop.wait(self._every)

    def _once(self) -> None:
        try:
            done = subprocess.run(  # noqa: S602 - a shell command is what was asked for
                self._command,
                shell=True,
                timeout=max(1.0, 2 * self._every),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                check=False,
            )
        except (OSError, subprocess.SubprocessError):
            return
        if done.returncode == 0:
            self._good_at = monotonic()

    def __enter__(self) -> Self:
        self._once()  # so that the first beat knows
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()


class Readings:
    """Reads the load of this host again and again, on a thread of its own."""

    def __init__(self, name: str) -> None:
        self.device: Device = Device(name)
        self._kind = MacHost if platform.system() == "Darwin" else LinuxHost
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stop.is_set():
            host = self._kind(self.device.get_name(), init_this_host=True)
            self.device.deserilize(host.serilize())
            self._stop.wait(_READ_EVERY)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()


def beat(args: Namespace, name: str, keys: KeyRing | AgentKeys) -> int:
    """Beat for a command, or until ended.

    Args:
        args: What was parsed.
        name: The name of the agent.
        keys: What is signed with.

    Returns:
        The exit status.
    """
    every = args.timeout / 3 if args.interval is None else args.interval
    with ExitStack() as block:
        end = block.enter_context(until_ended(args.seconds))
        check = readings = None
        if args.check is not None:
            check = block.enter_context(Check(args.check, max(0.1, every)))
        if args.readings:
            readings = block.enter_context(Readings(name))
        agent = Agent(
            name,
            args.to,
            keys=keys,
            timeout=args.timeout,
            interval=args.interval,
            alive=None if check is None else check.good,
            device=None if readings is None else readings.device,
            state=args.state,
        )
        agent.start()
        status = _while_it_works(agent, args.command, end)
        if not args.command and check is not None and not check.good():
            status = 1
        agent.stop(leave=status == 0)
    if args.json:
        print(json.dumps({**asdict(agent.stats()), "status": status}))
    return status


def _while_it_works(agent: Agent, command: list[str], end: End) -> int:
    """Feed systemd's watchdog, until the command or the time ends."""
    systemd = Systemd()
    child = subprocess.Popen(command) if command else None  # noqa: S603 - as asked for
    systemd.ready()
    idle, ping = threading.Event(), 0.0
    while not end.reached():
        if child is not None and child.poll() is not None:
            break
        if systemd.ping_every is not None and monotonic() >= ping and agent.healthy:
            ping = monotonic() + systemd.ping_every
            systemd.ping()
        idle.wait(min(_LOOK, max(0.0, end.left())))
    systemd.stopping()
    return 0 if child is None else _ended(child)


def _ended(child: subprocess.Popen[bytes]) -> int:
    """Return how a command ended; ask it to, if it has not."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(_GRACE)
        except subprocess.TimeoutExpired:
            child.kill()
    status = child.wait()
    return status if status >= 0 else 128 - status  # as shells say it
