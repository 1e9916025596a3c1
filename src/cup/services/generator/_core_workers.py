"""Worker numbers without a server: given, from the environment, or a slot of this host.

Each number has a file on this host that keeps which tick was claimed last: it keeps
processes that share a number apart, and a process from its former life. Not here:
numbers that a cluster shares out (`_core_lease`).
"""

from __future__ import annotations

import os
import re
import stat
import sys
import tempfile
from inspect import iscoroutinefunction
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from typing_extensions import TypeIs

from cup._core import fork
from cup._core.fork import generation
from cup.errors import InvalidType, InvalidValue, NoWorkerId, WorkerIdLost

from ._core_ids import check_int, expect
from ._core_ledger import open_ledger

if TYPE_CHECKING:
    from os import PathLike

    from ._core_layout import Layout
    from ._core_ledger import Ledger
    from .api import AsyncWorkerAPI, WorkerAPI

if sys.platform != "win32":
    import fcntl
else:
    import msvcrt

__all__ = [
    "EnvWorker",
    "FileSlots",
    "Seat",
    "StaticWorker",
    "is_awaited",
    "make_worker",
]

W = TypeVar("W")

_LARGEST: Final = (1 << 62) - 1
_PRIVATE: Final = 0o700


class Seat:
    """A worker number of this host, with the ledger of its ticks."""

    __slots__ = ("_given_back", "_ledger", "_number")

    def __init__(self, number: int, ledger: Ledger) -> None:
        self._number: int = number
        self._ledger: Ledger = ledger
        self._given_back: bool = False

    @property
    def number(self) -> int:
        """The worker number."""
        return self._number

    @property
    def deadline(self) -> float | None:
        """None: it does not end."""
        return None

    def claim(self, tick: int, limit: int) -> int:
        """Take a tick, not below `tick`; one above `limit` is told and not taken.

        Raises:
            WorkerIdLost: If the number was given back.
        """
        if self._given_back:
            raise WorkerIdLost(f"worker number {self._number} was given back")

        claimed = self._ledger.take(at_least=tick, limit=limit)
        return self._ledger.peek() if claimed is None else claimed

    def give_back(self) -> None:
        """Claim nothing any more."""
        self._given_back = True

    def __repr__(self) -> str:
        return f"<Seat {self._number}>"


class StaticWorker:
    """A worker number that the configuration gives.

    It must not be given to another host. Processes of one user on this host may share
    it: a file keeps them apart, and it keeps a process from its former life.

    Args:
        number: The number.
        directory: Where the file is; None for a folder of this user in
            `$XDG_RUNTIME_DIR` or the folder for temporary files.

    Raises:
        InvalidType: If the number is no integer.
        InvalidValue: If it is negative.
    """

    __slots__ = ("_directory", "_number")

    def __init__(
        self, number: int, *, directory: str | PathLike[str] | None = None
    ) -> None:
        self._number: int = check_int("worker", number, 0, _LARGEST)
        self._directory: Path | None = check_folder(directory)

    def seat(self, layout: Layout) -> Seat:
        """Return the seat of this number.

        Args:
            layout: What ids it is for; each layout has numbers of its own.

        Raises:
            InvalidValue: If the number does not fit, or the file is unusable.
        """
        size = layout.workers
        if self._number >= size:
            raise InvalidValue(
                f"worker {self._number} does not fit: this layout has {size} workers"
            )
        folder = make_folder(self._directory, layout.scope())
        return Seat(self._number, open_ledger(folder / f"worker-{self._number}"))

    def __repr__(self) -> str:
        return f"StaticWorker({self._number})"


class EnvWorker:
    """A worker number from the environment, looked up when it is needed.

    Text that ends in a number will do: `web-3`, as an orchestrator names its pods, is
    worker 3. The rest is as for `StaticWorker`.

    Args:
        variable: The name of the variable.
        directory: As for `StaticWorker`.
    """

    __slots__ = ("_directory", "_variable")

    def __init__(
        self,
        variable: str = "CUP_WORKER_ID",
        *,
        directory: str | PathLike[str] | None = None,
    ) -> None:
        self._variable: str = expect(variable, str, "is no name of a variable")
        self._directory: Path | None = check_folder(directory)

    def seat(self, layout: Layout) -> Seat:
        """Return the seat of the number that the environment gives.

        Args:
            layout: What ids it is for; each layout has numbers of its own.

        Raises:
            NoWorkerId: If the variable is not set, or does not end in a number.
            InvalidValue: If the number does not fit, or the file is unusable.
        """
        text = os.environ.get(self._variable)
        if text is None:
            raise NoWorkerId(f"{self._variable} is not set; set it to a worker number")

        digits = re.search(r"[0-9]{1,18}\Z", text)
        if digits is None:
            raise NoWorkerId(f"{self._variable}={text!r} does not end in a number")

        worker = StaticWorker(int(digits[0]), directory=self._directory)
        return worker.seat(layout)

    def __repr__(self) -> str:
        return f"EnvWorker({self._variable!r})"


class FileSlots:
    """Worker numbers that the processes of this host share out among themselves.

    A process holds the lowest free number by a lock on a file, which the system ends
    with the process, however that dies. A forked child takes a number of its own. For
    several hosts that issue ids into one place take a Redis lease instead, or give
    each a part of the numbers by `first` and `count`.

    Args:
        directory: Where the files are; None for a folder of this user in
            `$XDG_RUNTIME_DIR` or the folder for temporary files.
        first: The first number to share out.
        count: How many; None for as many as the layout has.

    Raises:
        InvalidType: If a number is no integer.
        InvalidValue: If a number is out of its range.
    """

    __slots__ = ("_count", "_directory", "_first", "_held")

    def __init__(
        self,
        directory: str | PathLike[str] | None = None,
        *,
        first: int = 0,
        count: int | None = None,
    ) -> None:
        self._directory: Path | None = check_folder(directory)
        self._first: int = check_int("first", first, 0, _LARGEST)
        most = _LARGEST
        self._count: int = most if count is None else check_int("count", count, 1, most)
        self._held: dict[str, tuple[int, int, Seat]] = {}
        """By scope: the fork generation, the locked file, the seat."""

    def seat(self, layout: Layout) -> Seat:
        """Return the seat of this process.

        Args:
            layout: What ids it is for; each layout has numbers of its own.

        Raises:
            NoWorkerId: If all are taken.
            InvalidValue: If the files are unusable.
        """
        scope = layout.scope()
        with fork.renewal:
            held = self._held.get(scope)
            if held is not None and held[0] == generation():
                return held[2]

            if held is not None:
                os.close(held[1])  # the parent's number stays the parent's
                del self._held[scope]
            file, seat = self._find(make_folder(self._directory, scope), layout.workers)
            self._held[scope] = (generation(), file, seat)
            return seat

    def _find(self, folder: Path, size: int) -> tuple[int, Seat]:
        last = min(size, self._first + self._count)
        for number in range(self._first, last):
            file = try_lock(folder / f"worker-{number}.lock")
            if file is not None:
                return file, Seat(number, open_ledger(folder / f"worker-{number}"))

        raise NoWorkerId(
            f"all numbers from {self._first} to {last - 1} are taken by processes of "
            f"this host (see {folder})"
        )

    def release(self) -> None:
        """Give the numbers of this process back; the next draw takes one anew."""
        with fork.renewal:
            for _, file, seat in self._held.values():
                seat.give_back()
                os.close(file)
            self._held.clear()

    def __repr__(self) -> str:
        numbers = [held[2].number for held in self._held.values()]
        return f"<FileSlots {self._directory or 'of this user'}, holds {numbers}>"


def make_worker(worker: int | W | None) -> W | WorkerAPI:
    """Return where a generator gets its worker number from.

    Raises:
        InvalidType: If it is no such thing.
        InvalidValue: If it is a negative number.
    """
    if worker is None:
        return FileSlots()

    if isinstance(worker, int):
        return StaticWorker(worker)

    if not callable(getattr(worker, "seat", None)):
        raise InvalidType(
            f"worker is {worker!r}; give a number, StaticWorker, EnvWorker, FileSlots "
            "or a Redis lease"
        )
    return worker


def is_awaited(worker: WorkerAPI | AsyncWorkerAPI) -> TypeIs[AsyncWorkerAPI]:
    """Tell whether a seat of this source has to be awaited."""
    return iscoroutinefunction(worker.seat)


def check_folder(directory: object) -> Path | None:
    """Return the folder that was given.

    Raises:
        InvalidType: If it is no path.
    """
    if directory is None:
        return None

    if not isinstance(directory, str | os.PathLike):
        raise InvalidType(f"directory is {directory!r}; give a path")

    return Path(os.fspath(directory))


def make_folder(directory: Path | None, scope: str) -> Path:
    """Make the folder for a scope, for this user alone unless one was given.

    Raises:
        InvalidValue: If it cannot be made, or belongs to somebody else.
    """
    home = _home_of_user() if directory is None else directory
    folder = home / scope
    try:
        home.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        if directory is None:
            _check_owner(home)
        folder.mkdir(mode=_PRIVATE, exist_ok=True)
    except OSError as error:
        raise InvalidValue(
            f"{folder} cannot keep worker numbers: {error}; give a directory"
        ) from error
    return folder


def _home_of_user() -> Path:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        return Path(runtime) / "cup-ids"

    user = "me"
    if sys.platform != "win32":
        user = str(os.getuid())
    return Path(tempfile.gettempdir()) / f"cup-ids-{user}"


def _check_owner(home: Path) -> None:
    if sys.platform != "win32":
        status = home.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
            raise InvalidValue(
                f"{home} belongs to another user, or is no folder; give a directory"
            )


def try_lock(path: Path) -> int | None:
    """Open and lock a file; None if somebody else has it locked.

    Raises:
        InvalidValue: If it cannot be opened.
    """
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise InvalidValue(f"{path} cannot be opened: {error.strerror}") from error
    try:
        if sys.platform != "win32":
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
    except OSError:
        os.close(file)
        return None
    return file
