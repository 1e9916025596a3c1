"""Conditions on processes, ports, sockets, and whatever a function says.

They are values, as those on files are (`files`); `repr` shows how to make them again.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    ClassVar,
    Generic,
    Literal,
    TypeAlias,
    TypeVar,
    overload,
)

from cup.errors import InvalidType, InvalidValue

from ._core_arguments import StrPath, absolute, one_of, seconds_of
from .api import StateCondition

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = [
    "PortFree",
    "PortOpen",
    "Predicate",
    "ProcessGone",
    "ProcessId",
    "ProcessRunning",
    "UnixSocket",
]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Probing: TypeAlias = Literal["listen", "connect"]

_PORTS = 65535


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process, told apart from a later one with the same number.

    Attributes:
        pid: Its number.
        started: When it was started, in units of the system; never shown to people.
    """

    pid: int
    started: float


def _process(target: StrPath | int | ProcessId) -> str | ProcessId | int:
    if isinstance(target, ProcessId):
        return target

    if isinstance(target, int) and not isinstance(target, bool):
        if target < 1:
            raise InvalidValue(f"no process has the number {target}")
        return target

    if isinstance(target, bool):
        raise InvalidType("a process is a path, a number or a ProcessId, not a bool")
    return absolute(target)


@dataclass(frozen=True, slots=True, init=False)
class ProcessRunning(StateCondition[ProcessId]):
    """A process runs; the value is its `ProcessId`.

    A path means every process that runs this executable or script, but the caller: as
    the file at this path or the interpreter of it, never as a mere argument. What was
    replaced or deleted since still counts. A directory stands for all beneath it.

    Args:
        target: A path, a process number or a `ProcessId`.
    """

    target: str | ProcessId | int

    def __init__(self, target: StrPath | int | ProcessId) -> None:
        object.__setattr__(self, "target", _process(target))

    def __repr__(self) -> str:
        return f"ProcessRunning({self.target!r})"


@dataclass(frozen=True, slots=True, init=False)
class ProcessGone(StateCondition[None]):
    """No such process runs (any more).

    It is the opposite of `ProcessRunning`, and careful: a process of another user of
    which one cannot know what it runs counts as alive if it may be meant. A process
    that ended and was not waited for by its parent is gone. A process that starts
    while others end counts: gone means that none is left.

    Args:
        target: A path, a process number or a `ProcessId`. A number means the process
            that has it when the wait begins.
    """

    target: str | ProcessId | int

    def __init__(self, target: StrPath | int | ProcessId) -> None:
        object.__setattr__(self, "target", _process(target))

    def __repr__(self) -> str:
        return f"ProcessGone({self.target!r})"


def _port(port: object) -> int:
    if isinstance(port, bool) or not isinstance(port, int):
        raise InvalidType(f"{port!r} is no port; give an int")

    if not 0 < port <= _PORTS:
        raise InvalidValue(f"{port} is no port; give 1 to {_PORTS}")
    return port


def _host(host: object) -> str | None:
    if host is None or (isinstance(host, str) and host and "\0" not in host):
        return host

    if isinstance(host, str):
        raise InvalidValue(f"{host!r} is no host; give its name or address, or None")
    raise InvalidType(f"{host!r} is no host; give its name or address as text")


@dataclass(frozen=True, slots=True, init=False, repr=False)
class _Port(StateCondition[int]):
    port: int
    host: str | None
    probe: Probing

    def __init__(
        self, port: int, host: str | None = None, *, probe: Probing = "listen"
    ) -> None:
        one_of(probe, "probe", ("listen", "connect"))
        object.__setattr__(self, "port", _port(port))
        object.__setattr__(self, "host", _host(host))
        object.__setattr__(self, "probe", probe)

    def __repr__(self) -> str:
        text = f"{type(self).__name__}({self.port}"
        if self.host is not None:
            text += f", {self.host!r}"
        if self.probe != "listen":
            text += f", probe={self.probe!r}"
        return f"{text})"


@dataclass(frozen=True, slots=True, init=False, repr=False)
class PortOpen(_Port):
    """Somebody listens on a TCP port; the value is the port.

    By default the system is asked, nothing connects: servers notice nothing. Where it
    cannot be asked (other systems than Linux) a connection is tried.

    Args:
        port: From 1 to 65535.
        host: Who listens on all addresses or on this one; None is any address. With
            `connect`, the host to connect to, by name or address; None is this one.
        probe: `listen` asks the system, `connect` makes a connection and closes it.
    """


@dataclass(frozen=True, slots=True, init=False, repr=False)
class PortFree(_Port):
    """Nobody listens on a TCP port (any more); the value is the port.

    Connections that linger there do not count: a server that sets `SO_REUSEADDR`, as
    most do, can bind it.

    Args:
        port: From 1 to 65535.
        host: The address that has to be free; None means all.
        probe: As for `PortOpen`.
    """


@dataclass(frozen=True, slots=True, init=False)
class UnixSocket(StateCondition[Path]):
    """Somebody listens on a Unix socket at a path; the value is the path.

    Where the system can be asked (Linux), nothing connects.

    Args:
        path: The path of the socket.
    """

    path: str

    def __init__(self, path: StrPath) -> None:
        object.__setattr__(self, "path", absolute(path))

    def __repr__(self) -> str:
        return f"UnixSocket({self.path!r})"


class Predicate(StateCondition[T_co], Generic[T_co]):
    """A function returns something true; the value is what it returned.

    It is called in the waiting thread, or task, when the wait begins, every so many
    seconds, when something else the wait is about has changed, and once at its end.

    Args:
        fn: A function without arguments; a coroutine function, if it is awaited.
        every: Seconds between two calls.
        name: What messages call it.
        ignoring: Exceptions that count as "not yet". Others end the wait.

    Raises:
        InvalidType: If `fn` cannot be called.
    """

    __slots__ = ("every", "fn", "ignoring", "name")
    __match_args__: ClassVar = ("fn", "every", "name")

    @overload
    def __init__(
        self: Predicate[T],
        fn: Callable[[], Awaitable[T]],
        every: float = ...,
        name: str | None = ...,
        *,
        ignoring: tuple[type[Exception], ...] = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: Predicate[T],
        fn: Callable[[], T],
        every: float = ...,
        name: str | None = ...,
        *,
        ignoring: tuple[type[Exception], ...] = ...,
    ) -> None: ...

    def __init__(
        self,
        fn: Callable[[], object],
        every: float = 0.05,
        name: str | None = None,
        *,
        ignoring: tuple[type[Exception], ...] = (),
    ) -> None:
        if not callable(fn):
            raise InvalidType(f"{fn!r} is no function")
        self.fn: Callable[[], object] = fn
        self.every: float = seconds_of(every, "every")
        self.name: str | None = name
        self.ignoring: tuple[type[Exception], ...] = ignoring

    def is_async(self) -> bool:
        """Tell whether the function is one that is awaited."""
        call = getattr(self.fn, "__call__", None)  # noqa: B004 - to look at it
        return any(map(inspect.iscoroutinefunction, (self.fn, call)))

    def _key(self) -> tuple[object, ...]:
        return (self.fn, self.every, self.name, self.ignoring)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Predicate) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        label = self.name or getattr(self.fn, "__qualname__", None) or repr(self.fn)
        return f"Predicate({label})"
