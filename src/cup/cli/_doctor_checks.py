"""What `cup doctor` looks at: each check is a function that gives findings.

A finding says what was found, and what works differently for it. Nothing here changes
the machine, or asks another one, but `redis`, which is asked for by its address.
"""

from __future__ import annotations

import mmap
import os
import platform
import socket
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from cup import __version__
from cup._core.redis import shown
from cup._core.redis.threads import Server
from cup.errors import MissingExtra, StoreUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["CHECKS", "Finding", "State", "redis"]

State: TypeAlias = Literal["ok", "note", "degraded", "broken"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        area: What it belongs to.
        name: What was looked at.
        state: "ok"; "note" where an optional part is missing; "degraded" where
            something works in a slower way; "broken" where something does not work.
        found: What there is.
        effect: What follows, and what helps; empty if all is well.
    """

    area: str
    name: str
    state: State
    found: str
    effect: str = ""


def versions() -> Iterator[Finding]:
    """Look at the interpreter, the system, and this package."""
    area = "versions"
    python = f"{platform.python_implementation()} {platform.python_version()}"
    yield Finding(area, "cup", "ok", f"{__version__} in {Path(__file__).parents[1]}")
    yield _foreign_package(area)
    yield Finding(area, "python", "ok", f"{python}, {sys.executable}")
    yield _gil(area)
    yield Finding(area, "system", "ok", f"{platform.system()} {platform.release()}")
    for name in ("anyio", "typing-extensions"):
        yield _package(area, name, "broken", f"cup needs it: pip install {name}")


def _foreign_package(area: str) -> Finding:
    try:
        other = distribution("cup")
    except PackageNotFoundError:
        return Finding(area, "the older cup", "ok", "not installed")

    effect = "both are imported as 'cup', one hides the other: pip uninstall cup"
    return Finding(area, "the older cup", "broken", other.version, effect)


def _gil(area: str) -> Finding:
    probe: Callable[[], bool] | None = getattr(sys, "_is_gil_enabled", None)
    if probe is None or probe():
        return Finding(area, "gil", "ok", "on")

    effect = "this build of Python is not tested: locks take slower, safe paths"
    return Finding(area, "gil", "degraded", "off", effect)


def _package(area: str, name: str, without: State, effect: str) -> Finding:
    try:
        return Finding(area, name, "ok", version(name))
    except PackageNotFoundError:
        return Finding(area, name, without, "not installed", effect)


def loops() -> Iterator[Finding]:
    """Look at the event loops that there are."""
    area = "event loops"
    yield Finding(area, "asyncio", "ok", "part of Python")
    yield _package(area, "uvloop", "note", "asyncio's own loop is used")
    yield _package(
        area, "trio", "note", "for trio programs and the demo: pip install trio"
    )


EXTRAS: Final = {
    "cli": ({"rich": "tables and progress are plain lines", "trio": "no demo"}),
    "redis": {
        "redis": "no worker leases, ranges, or heartbeats by Redis for threads",
        "coredis": "none of these for tasks",
    },
    "dask": {"distributed": "no Dask cluster behind the executor"},
    "serializer": {
        "crc32c": "logs use CRC-32",
        "msgspec": "logs have no msgspec codec",
    },
    "psutil": {"psutil": "no waiting for processes but on Linux"},
}
"""The packages of each extra, and what is not to be had without."""


def extras() -> Iterator[Finding]:
    """Look at the packages of the extras."""
    for extra, packages in EXTRAS.items():
        for name, effect in packages.items():
            hint = f"{effect}; pip install 'cup-services[{extra}]'"
            yield _package(f"extra {extra}", name, "note", hint)


def kernel() -> Iterator[Finding]:
    """Try the features of the kernel that make things faster."""
    features: dict[str, tuple[Callable[[], object], str]] = {
        "eventfd": (_try_eventfd, "idle workers park on locks"),
        "pidfd": (_try_pidfd, "the end of a process is looked for at intervals"),
        "inotify": (_try_inotify, "files are looked at in intervals"),
        "sock_diag": (_try_sock_diag, "ports are read from /proc, or tried"),
        "wipe on fork": (_try_wipe, "forks are noticed by the process id, slower"),
    }
    for name, (attempt, effect) in features.items():
        try:
            attempt()
        except (OSError, AttributeError, ValueError) as error:
            reason = f"no: {error}"
            yield Finding("kernel", name, "degraded", reason, effect)
        else:
            yield Finding("kernel", name, "ok", "works")


def _try_eventfd() -> None:
    if sys.platform != "linux":
        raise OSError("a feature of Linux")

    os.close(os.eventfd(0))


def _try_pidfd() -> None:
    if sys.platform != "linux":
        raise OSError("a feature of Linux")

    os.close(os.pidfd_open(os.getpid()))


def _try_inotify() -> None:
    import ctypes  # noqa: PLC0415 - slow to load

    if sys.platform != "linux":
        raise OSError("a feature of Linux")

    descriptor = ctypes.CDLL(None, use_errno=True).inotify_init1(os.O_CLOEXEC)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "no inotify instance is to be had")
    os.close(descriptor)


def _try_sock_diag() -> None:
    if sys.platform != "linux":
        raise OSError("a feature of Linux")

    protocol = 4  # linux/netlink.h: NETLINK_SOCK_DIAG
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol).close()


def _try_wipe() -> None:
    if sys.platform != "linux":
        raise OSError("a feature of Linux")

    wipe = 18  # linux/mman.h: MADV_WIPEONFORK
    with mmap.mmap(-1, mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as page:
        page.madvise(wipe)


def limits() -> Iterator[Finding]:
    """Look at what this process may have."""
    area = "limits"
    yield Finding(area, "cpus", "ok", str(_cpus()))
    yield from _resources(area)
    for name, file, least, effect in (
        ("inotify instances", "inotify/max_user_instances", 16, "files are polled"),
        ("inotify watches", "inotify/max_user_watches", 8192, "files are polled"),
    ):
        yield from _setting(area, name, f"/proc/sys/fs/{file}", least, effect)
    yield from _setting(
        area,
        "receive queue of a socket, bytes",
        "/proc/sys/net/core/rmem_max",
        1 << 20,
        "a monitor of many agents loses beats: sysctl net.core.rmem_max=4194304",
    )


def _cpus() -> int | None:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _resources(area: str) -> Iterator[Finding]:
    if sys.platform == "win32":
        return

    import resource  # noqa: PLC0415 - not on Windows

    for name, kind, least, effect in (
        ("open files", "RLIMIT_NOFILE", 1024, "raise it: ulimit -n 4096"),
        ("processes and threads", "RLIMIT_NPROC", 512, "raise it: ulimit -u 4096"),
    ):
        number: int | None = getattr(resource, kind, None)
        if number is None:
            continue

        soft, _ = resource.getrlimit(number)
        enough = soft == resource.RLIM_INFINITY or soft >= least
        text = "unlimited" if soft == resource.RLIM_INFINITY else str(soft)
        state: State = "ok" if enough else "degraded"
        yield Finding(area, name, state, text, "" if enough else effect)


def _setting(
    area: str, name: str, file: str, least: int, effect: str
) -> Iterator[Finding]:
    try:
        value = int(Path(file).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return

    enough = value >= least
    state: State = "ok" if enough else "degraded"
    yield Finding(area, name, state, str(value), "" if enough else effect)


def redis(url: str) -> Iterator[Finding]:
    """Ask a server of Redis or Valkey for its name."""
    area = "redis"
    effect = "leases, ranges and shared heartbeats are not to be had from it"
    try:
        server = Server(url, 2.0, "this check")
        server.run("return 'yes'", [])
        server.close()
    except MissingExtra as error:
        yield Finding(area, shown(url), "broken", "not asked", str(error))
    except (StoreUnreachable, ValueError) as error:
        yield Finding(area, shown(url), "broken", str(error), effect)
    else:
        yield Finding(area, shown(url), "ok", "answers")


CHECKS: Final[tuple[Callable[[], Iterator[Finding]], ...]] = (
    versions,
    loops,
    extras,
    kernel,
    limits,
)
"""The checks, in the order in which they are shown."""
