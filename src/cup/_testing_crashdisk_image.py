"""What a disk under test holds: what programs see, and what a power cut would leave.

Contents are in `_testing_crashdisk_file`. A change of names is pending until one of its
directories is synced. `Image.apply` is the only way in, so a list of events tells all
there is to know.

Not here: which of the possible contents a crash takes (`_testing_crashdisk_fates`).
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from ._testing_crashdisk_file import CachedFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = [
    "ROOT",
    "Directory",
    "DiskEvent",
    "DiskOperation",
    "Image",
    "NameChange",
    "os_error",
    "split_path",
]

DiskOperation: TypeAlias = Literal[
    "open",
    "create",
    "read",
    "write",
    "truncate",
    "allocate",
    "sync",
    "rename",
    "unlink",
    "mkdir",
    "sync_dir",
    "listdir",
    "lock",
    "note",
]
"""What can be done to a disk; `write` stands for `pwrite` and `pwritev`."""

ROOT: Final = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskEvent:
    """Something that was done to a disk.

    Attributes:
        operation: What was done.
        path: The file or directory, as it was called when it was opened.
        target: The new name, of a rename.
        offset: Where a write began.
        size: The size that a file was given; of a sync, the number of the last change
            that it was about.
        data: What was written.
        error: The errno that the operation failed with; 0 if it did not.
        note: What a test noted.
        node: Which file it was, whatever its name.
    """

    operation: DiskOperation
    path: str = ""
    target: str = ""
    offset: int = 0
    size: int = 0
    data: bytes = field(default=b"", repr=False)
    error: int = 0
    note: object = None
    node: int = ROOT

    def __str__(self) -> str:
        text = f"{self.operation} {self.path}".rstrip()
        if self.operation == "write":
            text += f" [{self.offset}:{self.offset + len(self.data)}]"
        elif self.operation in {"truncate", "allocate"}:
            text += f" to {self.size}"
        elif self.operation == "rename":
            text += f" to {self.target}"
        elif self.operation == "note":
            text += f" {self.note!r}"
        return f"{text}: {os.strerror(self.error)}" if self.error else text


class Directory:
    """A directory: the names in it, and those that are durable."""

    __slots__ = ("names", "stored")

    def __init__(self) -> None:
        self.names: dict[str, int] = {}
        self.stored: dict[str, int] = {}

    def copy(self) -> Directory:
        """Return a directory that goes its own way."""
        twin = Directory()
        twin.names = dict(self.names)
        twin.stored = dict(self.stored)
        return twin


@dataclass(frozen=True, slots=True)
class NameChange:
    """A change of names that is not durable yet; it happens as a whole.

    Attributes:
        removed: The directory and the name in it that goes.
        added: The directory and the name in it that comes.
        node: What the new name stands for.
    """

    removed: tuple[int, str] | None
    added: tuple[int, str] | None
    node: int

    def directories(self) -> set[int]:
        """Name the directories that it changes."""
        return {place[0] for place in (self.removed, self.added) if place is not None}


class Image:
    """All files and directories of a disk."""

    __slots__ = ("_next", "changes", "directories", "files", "sector")

    def __init__(self, sector: int) -> None:
        self.sector: int = sector
        self.files: dict[int, CachedFile] = {}
        self.directories: dict[int, Directory] = {ROOT: Directory()}
        self.changes: list[NameChange] = []
        self._next = ROOT + 1

    @classmethod
    def of(
        cls, sector: int, files: Mapping[str, bytes], directories: Iterable[str] = ()
    ) -> Image:
        """Make an image with such durable content."""
        image = cls(sector)
        for path in sorted({*directories}, key=len):
            image.make_path(split_path(path))
        for path, content in files.items():
            *above, name = split_path(path)
            place = image.make_path(above)
            node = image._take_number()
            image.files[node] = CachedFile(sector, content)
            image.directories[place].names[name] = node
        for directory in image.directories.values():
            directory.stored = dict(directory.names)
        return image

    def make_path(self, parts: Iterable[str]) -> int:
        """Make the directories of a path where they are missing."""
        place = ROOT
        for part in parts:
            names = self.directories[place].names
            if part not in names:
                names[part] = self._take_number()
                self.directories[names[part]] = Directory()
            place = names[part]
        return place

    def _take_number(self) -> int:
        self._next += 1
        return self._next - 1

    def copy(self) -> Image:
        """Return an image that goes its own way."""
        twin = Image(self.sector)
        twin.files = {node: file.copy() for node, file in self.files.items()}
        twin.directories = {
            node: directory.copy() for node, directory in self.directories.items()
        }
        twin.changes = [*self.changes]
        twin._next = self._next
        return twin

    def used(self) -> int:
        """Add up the sizes of the files that have a name."""
        named = {n for d in self.directories.values() for n in d.names.values()}
        return sum(len(self.files[node].cache) for node in named & {*self.files})

    # -- paths -------------------------------------------------------------------------

    def find(self, path: str) -> int | None:
        """Return what a path stands for; None if there is no such name."""
        node = ROOT
        for part in split_path(path):
            directory = self.directories.get(node)
            if directory is None or part not in directory.names:
                return None
            node = directory.names[part]
        return node

    def place(self, path: str) -> tuple[int, str]:
        """Return the directory of a path, and the name in it.

        Raises:
            OSError: If there is no such directory.
        """
        *above, name = split_path(path) or [""]
        node = self.find("/".join(above))
        if node is None or not name:
            raise os_error(errno.ENOENT, path)
        if node not in self.directories:
            raise os_error(errno.ENOTDIR, path)
        return node, name

    # -- events ------------------------------------------------------------------------

    def check_rename(self, source: str, target: str) -> None:
        """Refuse what no system does.

        Raises:
            OSError: If a file would take the place of a directory, or the other way
                round, or a directory that of one with something in it, or go into
                itself.
        """
        node, there = self.find(source), self.find(target)
        if node is None:
            raise os_error(errno.ENOENT, source)
        self.place(target)
        if node in self.directories:
            above, below = split_path(source), split_path(target)
            if below[: len(above)] == above and below != above:
                raise os_error(errno.EINVAL, target)
            if there is not None and there not in self.directories:
                raise os_error(errno.ENOTDIR, target)
            if there not in {None, node} and self.directories[there or 0].names:
                raise os_error(errno.ENOTEMPTY, target)
        elif there in self.directories:
            raise os_error(errno.EISDIR, target)

    def apply(self, event: DiskEvent) -> None:
        """Let an event have its effect; of the failed ones, a sync alone has one."""
        if event.operation == "sync" and event.error:
            self.files[event.node].forget(event.size)
        elif not event.error and event.operation in _EFFECTS:
            _EFFECTS[event.operation](self, event)

    def create(self, event: DiskEvent) -> None:
        """Make a file or a directory."""
        node = self._take_number()
        if event.operation == "mkdir":
            self.directories[node] = Directory()
        else:
            self.files[node] = CachedFile(self.sector)
        self._change(NameChange(None, self.place(event.path), node))

    def write(self, event: DiskEvent) -> None:
        """Write into a file."""
        self.files[event.node].write(event.data, event.offset)

    def resize(self, event: DiskEvent) -> None:
        """Give a file another size; `allocate` only adds."""
        file = self.files[event.node]
        if event.operation == "truncate" or event.size > len(file.cache):
            file.resize(event.size)

    def sync(self, event: DiskEvent) -> None:
        """Store a file."""
        self.files[event.node].store(event.size)

    def rename(self, event: DiskEvent) -> None:
        """Give a file another name."""
        source = self.place(event.path)
        node = self.directories[source[0]].names[source[1]]
        self._change(NameChange(source, self.place(event.target), node))

    def unlink(self, event: DiskEvent) -> None:
        """Take its name from a file."""
        self._change(NameChange(self.place(event.path), None, ROOT))

    def _change(self, change: NameChange) -> None:
        if change.removed is not None:
            place, name = change.removed
            del self.directories[place].names[name]
        if change.added is not None:
            place, name = change.added
            self.directories[place].names[name] = change.node
        self.changes.append(change)

    def sync_dir(self, event: DiskEvent) -> None:
        """Store the names in a directory."""
        synced = {event.node}
        # A rename between directories becomes durable in both of them at once, with all
        # else that was done in the other one.
        before = 0
        while len(synced) > before:
            before = len(synced)
            for change in self.changes:
                if change.directories() & synced:
                    synced |= change.directories()
        for node in synced:
            directory = self.directories[node]
            directory.stored = dict(directory.names)
        self.changes = [c for c in self.changes if not c.directories() & synced]


_EFFECTS: Final[dict[DiskOperation, Callable[[Image, DiskEvent], None]]] = {
    "create": Image.create,
    "mkdir": Image.create,
    "write": Image.write,
    "truncate": Image.resize,
    "allocate": Image.resize,
    "sync": Image.sync,
    "rename": Image.rename,
    "unlink": Image.unlink,
    "sync_dir": Image.sync_dir,
}


def split_path(path: str) -> list[str]:
    """Take a path apart; there is one directory that relative paths start in."""
    parts: list[str] = []
    _, path = os.path.splitdrive(path)
    for part in path.replace(os.sep, "/").split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in {"", "."}:
            parts.append(part)
    return parts


def os_error(number: int, path: str) -> OSError:
    """Return the error that the operating system would raise."""
    return OSError(number, os.strerror(number), path)
