"""Show the statistics of a running process to its owner: what `cup top` reads.

A process opts in by `expose`; who may read its socket is the user that it runs as::

    from cup import monitoring

    monitoring.expose(jobs=pool, config=lock)

Each connection is answered by one JSON document and closed. Nothing can be changed
through it. Not here: the statistics themselves, which are the `stats()` of services.
"""

from __future__ import annotations

import dataclasses
import enum
import errno
import json
import math
import os
import platform
import socket
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Set as AbstractSet
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, cast

from typing_extensions import NotRequired, TypedDict

from cup import __version__
from cup._core import fork, lifecycle
from cup._core.clock import check_timeout
from cup._core.pause import pause
from cup._core.threads import OwnThread, join_within
from cup.errors import InvalidType, InvalidValue, MonitoringError

if TYPE_CHECKING:
    from collections.abc import Collection
    from types import TracebackType

    from typing_extensions import Self

__all__ = [
    "Exposure",
    "HasStats",
    "ServiceState",
    "Snapshot",
    "expose",
    "exposed",
    "read",
]


class ServiceState(TypedDict):
    """What is told of one service: its statistics, or why there are none."""

    name: str
    type: str
    stats: NotRequired[object]
    error: NotRequired[str]


class Snapshot(TypedDict):
    """What is told of one process; times are in seconds."""

    pid: int
    program: str
    cup: str
    python: str
    time: float
    uptime: float
    threads: int
    services: list[ServiceState]


_FIELDS: Final = frozenset(Snapshot.__required_keys__)
_PATIENCE: Final = 2.0  # seconds for who reads slowly
_BREATH: Final = 0.1  # seconds, when the system has no descriptor left
_PASSING: Final = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNABORTED}
)
_LONGEST_TEXT: Final = 200
_LONGEST_PATH: Final = 100  # bytes; sun_path has 104 to 108, with the zero at its end
_SUFFIX: Final = ".sock"
_NO_SOCKETS: Final = "this system has no local sockets that `cup top` could use"


class HasStats(Protocol):
    """A service of this library, or anything else that has statistics."""

    def stats(self) -> object:
        """Return a value, a data class or a mapping."""
        ...


class Exposure:
    """Answers who asks for the statistics of this process; made by `expose`.

    Services are kept until they are removed. Every method may be called from any
    thread. A forked child shows nothing until it calls `expose` itself.

    Attributes:
        path: The socket.
    """

    def __init__(self, path: Path, services: Mapping[str, HasStats]) -> None:
        self.path: Path = path
        self._services: dict[str, HasStats] = {}
        self._began: float = time.monotonic()
        self._generation: int = fork.generation()
        self._closed: bool = False
        for name, service in services.items():
            self.add(name, service)
        self._socket: socket.socket = _listen(path)
        self._thread: threading.Thread = OwnThread(
            self._serve, name="cup: monitoring", daemon=True
        )
        self._thread.start()
        lifecycle.at_exit(lifecycle.Stage.TIMERS, self)

    def add(self, name: str, service: HasStats) -> None:
        """Show a service, too.

        Raises:
            InvalidType: If it has no `stats` method.
            InvalidValue: If the name is empty.
        """
        if not name:
            raise InvalidValue("name is empty; give what is to be shown")
        if not callable(getattr(service, "stats", None)):
            raise InvalidType(f"{service!r} has no method stats()")

        self._services[name] = service

    def remove(self, name: str) -> None:
        """Show a service no more; nothing happens if there is none of this name."""
        self._services.pop(name, None)

    def snapshot(self) -> Snapshot:
        """Return the document that is sent to who asks."""
        return {
            "pid": os.getpid(),
            "program": " ".join(sys.argv)[:_LONGEST_TEXT],
            "cup": __version__,
            "python": platform.python_version(),
            "time": time.time(),
            "uptime": time.monotonic() - self._began,
            "threads": threading.active_count(),
            "services": self._states(),
        }

    def _states(self) -> list[ServiceState]:
        states: list[ServiceState] = []
        for name, service in [*self._services.items()]:
            state: ServiceState = {"name": name, "type": type(service).__name__}
            try:
                state["stats"] = _plain(service.stats())
            except (Exception, SystemExit) as error:  # noqa: BLE001 - the others are shown
                state["error"] = repr(error)[:_LONGEST_TEXT]
            states.append(state)
        return states

    def _serve(self) -> None:
        while not self._closed:
            try:
                peer, _ = self._socket.accept()
            except OSError as error:
                if error.errno not in _PASSING:
                    return
                pause(_BREATH, "cup.monitoring", "")
                continue

            with peer:
                if not self._closed:
                    self._answer(peer)

    def _answer(self, peer: socket.socket) -> None:
        try:
            peer.settimeout(_PATIENCE)
            peer.sendall(json.dumps(self.snapshot()).encode() + b"\n")
        except OSError:
            pass  # who asked is gone, or too slow

    def close(self) -> None:
        """Show nothing any more, and remove the socket; may be called twice."""
        if self._closed:
            return

        self._closed = True
        if self._generation == fork.generation():  # else they are the parent's
            _knock(self.path)
            if self._thread is not threading.current_thread():
                join_within(self._thread, _PATIENCE)
            self.path.unlink(missing_ok=True)
        self._socket.close()

    def end_at_exit(self) -> None:
        """Remove the socket at interpreter exit."""
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{len(self._services)} services"
        return f"<Exposure {self.path} {state}>"


def expose(
    path: str | os.PathLike[str] | None = None, /, **services: HasStats
) -> Exposure:
    """Show the statistics of services to the user that this process runs as.

    They are read on a thread of its own, whenever somebody asks; nothing is spent
    otherwise. Closed by `close`, by `with`, or at interpreter exit.

    Args:
        path: The socket to make; None for one that `exposed` finds, in a folder that
            only this user can enter.
        **services: What to show, under which names; more can be added later.

    Raises:
        MonitoringError: If the socket cannot be made, somebody listens there already,
            the system has none (Windows), or others could reach it.
        InvalidType: If a service has no `stats` method.
    """
    return Exposure(_own_path() if path is None else Path(path), services)


def exposed() -> list[Path]:
    """Return the sockets of this user's processes, the newest last.

    Some may be left from processes that were killed: `read` tells.
    """
    sockets = [path for path in _folder().glob(f"*{_SUFFIX}") if path.is_socket()]
    return sorted(sockets, key=_made_at)


def read(path: str | os.PathLike[str], timeout: float | None = _PATIENCE) -> Snapshot:
    """Ask a process for its statistics.

    Args:
        path: Its socket.
        timeout: Seconds for each step; None waits for ever.

    Raises:
        MonitoringError: If nobody answers in time, or what comes is no such document.
        InvalidValue: If `timeout` is NaN.
    """
    limit = check_timeout(timeout)
    try:
        with _make_socket() as client:
            client.settimeout(limit)
            client.connect(os.fspath(path))
            received = bytearray()
            while portion := client.recv(1 << 16):
                received += portion
        return _checked(json.loads(received))
    except (OSError, ValueError, RecursionError) as error:
        raise MonitoringError(
            f"no statistics from {os.fspath(path)}: {error}"
        ) from error


def _checked(document: object) -> Snapshot:
    if not (isinstance(document, dict) and document.keys() >= _FIELDS):
        raise ValueError("what answers there is no process that shows its services")
    return cast("Snapshot", document)


def _own_path() -> Path:
    if sys.platform == "win32":
        raise MonitoringError(_NO_SOCKETS)

    folder = _folder()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise MonitoringError(f"the folder {folder} cannot be made: {error}") from error

    if found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise MonitoringError(
            f"others can enter {folder}, or own it; make it yours, with mode 700"
        )
    path = folder / f"{os.getpid()}{_SUFFIX}"
    number = 1
    while _is_served(path):  # this process shows something else there already
        number += 1
        path = folder / f"{os.getpid()}-{number}{_SUFFIX}"
    return path


def _folder() -> Path:
    if sys.platform == "win32":
        raise MonitoringError(
            "this system has no local sockets that `cup top` could use"
        )

    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime and Path(runtime).is_dir():
        return Path(runtime) / "cup"
    return Path(tempfile.gettempdir()) / f"cup-{os.getuid()}"


def _listen(path: Path) -> socket.socket:
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise MonitoringError(
            f"{path} is too long for a socket; give a path of {_LONGEST_PATH} bytes"
        )

    if _is_served(path):
        raise MonitoringError(f"somebody listens at {path}; give another path")

    server = _make_socket()
    try:
        if path.is_socket():
            path.unlink()  # of a process that was killed and had this number
        server.bind(os.fspath(path))
        path.chmod(0o600)
        server.listen()
    except (OSError, ValueError) as error:
        server.close()
        raise MonitoringError(f"the socket {path} cannot be made: {error}") from error
    return server


def _is_served(path: Path) -> bool:
    """Tell whether somebody listens there, even one who has no time."""
    if not path.is_socket():
        return False

    with _make_socket() as client:
        client.settimeout(0)
        return client.connect_ex(os.fspath(path)) in {0, errno.EAGAIN}


def _make_socket() -> socket.socket:
    if sys.platform == "win32":
        raise MonitoringError(
            "this system has no local sockets that `cup top` could use"
        )

    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)


def _knock(path: Path) -> None:
    """Wake the thread that waits for connections."""
    try:
        with _make_socket() as client:
            client.settimeout(_PATIENCE)
            client.connect(os.fspath(path))
    except OSError:
        pass  # somebody has removed it: the thread is a daemon


def _made_at(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0


def _plain(value: object) -> object:
    """Return what a value is in JSON; what has no such form is told by its repr."""
    if isinstance(value, enum.Enum):
        return value.name
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, str):
        return value[:_LONGEST_TEXT]
    return _plain_group(value)


def _plain_group(value: object) -> object:
    if isinstance(value, Mapping):
        members = cast("Mapping[object, object]", value)
        return {str(key): _plain(members[key]) for key in members}
    if isinstance(value, list | tuple | AbstractSet):
        return [_plain(item) for item in cast("Collection[object]", value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: _plain(getattr(value, name)) for name in names}
    return repr(value)[:_LONGEST_TEXT]
