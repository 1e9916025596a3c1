"""A disk in memory that loses power, fails, fills up and is slow, when a test says so.

Not here: what is durable when (`_testing_crashdisk_image`), and what a crash leaves
(`_testing_crashdisk_fates`).
"""

from __future__ import annotations

import errno
from random import Random
from typing import TYPE_CHECKING, Final

from ._testing_crashdisk_engine import CrashFile, Engine
from ._testing_crashdisk_fates import KINDS, CrashKind, remains
from ._testing_crashdisk_faults import DiskFault
from ._testing_crashdisk_image import DiskEvent, DiskOperation, Image, os_error
from ._testing_crashdisk_states import Crashes, CrashState
from .errors import InvalidValue

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping

    from ._core.disk import Disk, DiskFile

__all__ = [
    "CrashDisk",
    "CrashKind",
    "CrashState",
    "DiskEvent",
    "DiskFault",
    "DiskOperation",
]

_SECTOR: Final = 512


class CrashDisk:
    """A disk in memory that loses power, fails, fills up and is slow, on demand.

    Code that must survive a crash does its input and output through a `cup.disk.Disk`.
    Given this one, it is run once; then `crash_states` goes through its trace and
    gives, for every point of it, what a machine might hold that crashed there::

        from cup.testing import CrashDisk

        class Counter:
            '''A number that is durable once `add` returns.'''

            def __init__(self, disk):
                self.disk = disk
                self.value = 0
                if disk.exists("/count"):
                    file = disk.open("/count")
                    self.value = int(file.pread(100, 0))
                    file.close()

            def add(self):
                file = self.disk.open("/new", create=True, write=True)
                file.truncate(0)
                file.pwrite(b"%d" % (self.value + 1), 0)
                file.sync()
                file.close()
                self.disk.rename("/new", "/count")
                self.disk.sync_dir("/")
                self.value += 1

        disk = CrashDisk()
        counter = Counter(disk)
        for _ in range(3):
            counter.add()
            disk.note(counter.value)  # what it has acknowledged

        for state in disk.crash_states():
            survivor = Counter(state.mount())
            assert survivor.value >= max(state.notes, default=0), state
            survivor.add()

    Without one of the two syncs, that fails, and names the state. A state is the same
    in every run. `inject` lets operations fail.

    The model is stricter than most file systems: every sector of `sector` bytes, every
    size and every name that was not synced may be old or new by itself, sectors may be
    torn anywhere, and bytes that were written may be zeros or garbage; a failed sync
    marks sectors clean that are not stored. Bytes that are the same before and after
    are safe.

    Threads may share it. Paths start in one root; there is no working directory.

    Args:
        files: Path -> content of what is durable from the beginning.
        sector: How many bytes a medium stores as a whole: 512, or 4096, or less.
        seed: What chance starts with.
        capacity: How many bytes there is room for; None for no limit.

    Raises:
        InvalidValue: If `sector` is less than 1.
    """

    __slots__ = ("_engine", "sector", "seed")

    def __init__(
        self,
        files: Mapping[str, bytes] | None = None,
        *,
        sector: int = _SECTOR,
        seed: int = 0,
        capacity: int | None = None,
    ) -> None:
        if sector < 1:
            raise InvalidValue(f"sector={sector}: a sector has 1 byte or more")

        self.sector: int = sector
        self.seed: int = seed
        self._engine = Engine(Image.of(sector, files or {}), capacity)

    def _remount(self, state: CrashState) -> CrashDisk:
        """Return a disk that has another content, and no limit of its capacity."""
        disk = CrashDisk(sector=self.sector, seed=self.seed)
        disk._engine = Engine(state.image(self.sector), None)
        return disk

    # -- what a test does to it --------------------------------------------------------

    def inject(
        self,
        operation: DiskOperation,
        *,
        error: int = 0,
        nth: int = 1,
        times: int | None = 1,
        path: str = "*",
        partial: int = 0,
        delay: float = 0.0,
        before: Callable[[], object] | None = None,
    ) -> DiskFault:
        """Let operations fail, be short or be late.

        A failed sync has the effect that it has on Linux: what was to be stored is
        marked clean, may be stored or not, and the next sync succeeds without it.

        Args:
            operation: Which ones; `write` is any write.
            error: The errno that they fail with; 0 lets them succeed.
            nth: The first one to be hit, of those to come, from 1.
            times: How many in a row are hit; None for all from then on.
            path: A shell pattern; others are neither hit nor counted.
            partial: The bytes that a read or write transfers. With an error, the first
                call returns short, and the one after it fails.
            delay: The seconds that they take.
            before: Called before them, in their thread, while no lock is held.

        Returns:
            The fault, which counts its hits.

        Raises:
            InvalidValue: If there is no such operation, or a number makes no sense.
        """
        fault = DiskFault(
            operation=operation,
            error=error,
            nth=nth,
            times=times,
            path=path,
            partial=partial,
            delay=delay,
            before=before,
        )
        with self._engine.mutex:
            self._engine.plan.add(fault)
        return fault

    def heal(self) -> None:
        """Take all faults back, and the limit of the capacity."""
        with self._engine.mutex:
            self._engine.plan.clear()
            self._engine.capacity = None

    @property
    def capacity(self) -> int | None:
        """How many bytes there is room for, in all files that have a name."""
        return self._engine.capacity

    @capacity.setter
    def capacity(self, capacity: int | None) -> None:
        self._engine.capacity = capacity

    def damage(self, path: str, offset: int, mask: int = 0xFF) -> None:
        """Flip bits of one byte for good, in the cache and on the medium.

        The trace begins anew.

        Args:
            path: The file.
            offset: Where in it.
            mask: The bits.

        Raises:
            FileNotFoundError: If there is no such file.
            IndexError: If it is shorter.
        """
        engine = self._engine
        with engine.mutex:
            engine.file_at(path).flip(offset, mask)
            engine.base, engine.trace = engine.image.copy(), []

    def note(self, note: object) -> None:
        """Keep something in the trace: what was acknowledged, most likely.

        States of later points have it in their `notes`.
        """
        with self._engine.mutex:
            self._engine.do(DiskEvent(operation="note", note=note))

    @property
    def trace(self) -> tuple[DiskEvent, ...]:
        """Everything that was done so far, reading excepted."""
        with self._engine.mutex:
            return tuple(self._engine.trace)

    def files(self) -> dict[str, bytes]:
        """Return all files as programs see them, by their paths."""
        with self._engine.mutex:
            return remains(self._engine.image, "kill", Random())[0]  # noqa: S311 - draws nothing

    def crash_states(
        self,
        *,
        kinds: Iterable[CrashKind] = KINDS,
        points: Container[int] | None = None,
        variants: int = 1,
    ) -> Iterator[CrashState]:
        """Give what a crash may leave, at each point of the trace so far.

        The disk itself goes on and may be used meanwhile. A state that equals one given
        before, with as many notes, is left out; those of `kill` are all given.

        Args:
            kinds: What crashes do.
            points: After how many events they come; None for each number.
            variants: How many states there are of each kind that chance takes part in.

        Returns:
            An iterator; states are made when it comes to them.

        Raises:
            InvalidValue: If there is no such kind, or `variants` is less than 1.
        """
        chosen: list[CrashKind] = [*kinds]
        if unknown := sorted({*chosen} - {*KINDS}):
            raise InvalidValue(f"kinds: {unknown} are none of {', '.join(KINDS)}")
        if variants < 1:
            raise InvalidValue(f"variants={variants}: nothing would be tested; give 1")
        with self._engine.mutex:
            image, trace = self._engine.base.copy(), [*self._engine.trace]
        crashes = Crashes(image, trace, self.seed, self._remount)
        return crashes.states(chosen, points, variants)

    # -- what programs do with it ------------------------------------------------------

    def open(
        self,
        path: str,
        /,
        *,
        create: bool = False,
        exclusive: bool = False,
        write: bool = False,
    ) -> DiskFile:
        """Open a file, as `Disk.open`."""
        engine = self._engine
        making = (create or exclusive) and not self.exists(path)
        engine.meet(DiskEvent(operation="create" if making else "open", path=path))
        with engine.mutex:
            node = engine.image.find(path)
            if node is not None and exclusive:
                raise os_error(errno.EEXIST, path)
            if node is None:
                engine.image.place(path)
                if not (create or exclusive):
                    raise os_error(errno.ENOENT, path)
                engine.do(DiskEvent(operation="create", path=path))
            engine.file_at(path)
            return CrashFile(engine, engine.image.find(path) or 0, path, write=write)

    def rename(self, source: str, target: str, /) -> None:
        """Give a file another name, as `Disk.rename`."""
        engine = self._engine
        event = DiskEvent(operation="rename", path=source, target=target)
        engine.meet(event)
        with engine.mutex:
            engine.image.check_rename(source, target)
            engine.do(event)

    def unlink(self, path: str, /) -> None:
        """Remove a file, as `Disk.unlink`."""
        engine = self._engine
        event = DiskEvent(operation="unlink", path=path)
        engine.meet(event)
        with engine.mutex:
            engine.file_at(path)
            engine.do(event)

    def mkdir(self, path: str, /) -> None:
        """Make a directory, as `Disk.mkdir`."""
        engine = self._engine
        event = DiskEvent(operation="mkdir", path=path)
        engine.meet(event)
        with engine.mutex:
            if engine.image.find(path) is not None:
                raise os_error(errno.EEXIST, path)
            engine.image.place(path)
            engine.do(event)

    def sync_dir(self, path: str, /) -> None:
        """Make durable which names a directory has, as `Disk.sync_dir`."""
        engine = self._engine
        with engine.mutex:
            node = engine.directory_at(path)
        event = DiskEvent(operation="sync_dir", path=path, node=node)
        engine.meet(event)
        with engine.mutex:
            engine.do(event)

    def listdir(self, path: str, /) -> list[str]:
        """Name what is in a directory, as `Disk.listdir`."""
        engine = self._engine
        engine.meet(DiskEvent(operation="listdir", path=path))
        with engine.mutex:
            return [*engine.image.directories[engine.directory_at(path)].names]

    def size(self, path: str, /) -> int:
        """Return the size of a file, as `Disk.size`."""
        with self._engine.mutex:
            return len(self._engine.file_at(path).cache)

    def exists(self, path: str, /) -> bool:
        """Tell whether there is something of that name, as `Disk.exists`."""
        with self._engine.mutex:
            return self._engine.image.find(path) is not None

    def __repr__(self) -> str:
        with self._engine.mutex:
            files, events = len(self._engine.image.files), len(self._engine.trace)
        return f"<CrashDisk {files} files, {events} events, sectors of {self.sector}>"


if TYPE_CHECKING:
    _disk: Disk = CrashDisk()
