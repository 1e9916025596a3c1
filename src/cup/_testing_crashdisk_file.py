"""A file of a disk under test: its cache, and beneath it what is durable.

A sector that was written since the last sync is dirty: it has versions, and each of
them may be what the medium has. The same goes for the size.

Not here: names, and which version a crash takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CachedFile"]


class CachedFile:
    """A file: its cache, its persisted content, and what lies between them.

    Everything that changes it gets a number, so that a sync can leave out what came
    after its begin.

    Attributes:
        cache: What programs read.
        stored: What is durable, as long as the durable size.
        dirty: Sector -> its versions since the last sync, with their numbers; the next
            one stores the last of them.
        limbo: Sector -> its versions, one of which is stored, or none: their sync
            failed, and the system holds them for clean until they are written again.
        sizes: The sizes since the last sync, with their numbers.
        count: How many changes there were.
    """

    __slots__ = ("cache", "count", "dirty", "limbo", "sector", "sizes", "stored")

    def __init__(self, sector: int, content: bytes = b"") -> None:
        self.sector: int = sector
        self.cache: bytearray = bytearray(content)
        self.stored: bytearray = bytearray(content)
        self.dirty: dict[int, list[tuple[int, bytes]]] = {}
        self.limbo: dict[int, list[bytes]] = {}
        self.sizes: list[tuple[int, int]] = []
        self.count: int = 0

    def write(self, data: bytes, offset: int) -> None:
        """Write into the cache."""
        before = len(self.cache)
        if offset > before:
            self.cache.extend(bytes(offset - before))
        self.cache[offset : offset + len(data)] = data
        self._keep(before, min(offset, before), offset + len(data))

    def resize(self, size: int) -> None:
        """Cut the cache, or extend it with zeros."""
        before = len(self.cache)
        if size < before:
            del self.cache[size:]
            self._keep(before, size, size)  # where it cuts a sector, the rest is zeros
        elif size > before:
            self.cache.extend(bytes(size - before))
            self._keep(before, before, size)

    def _keep(self, before: int, start: int, stop: int) -> None:
        """Keep the size, if it has changed, and a version of each sector of a range."""
        self.count += 1
        if len(self.cache) != before:
            self.sizes.append((self.count, len(self.cache)))
        width = self.sector
        for index in range(start // width, -(-stop // width)):
            version = bytes(self.cache[index * width : (index + 1) * width])
            versions = self.dirty.setdefault(index, [])
            versions += [(self.count, doubt) for doubt in self.limbo.pop(index, ())]
            versions.append((self.count, version))

    def store(self, count: int) -> None:
        """Make durable what was done up to a change, but for what is in limbo."""
        size = max((s for s in self.sizes if s[0] <= count), default=None)
        if size is not None:
            del self.stored[size[1] :]
            self.stored.extend(bytes(size[1] - len(self.stored)))
        for index, versions in self._take(count):
            self.overlay(self.stored, index, versions[-1])
        self.sizes = [size for size in self.sizes if size[0] > count]

    def forget(self, count: int) -> None:
        """Fail to do that: hold it for clean, and leave open what was stored."""
        for index, versions in self._take(count):
            self.limbo.setdefault(index, []).extend(versions)

    def _take(self, count: int) -> Iterator[tuple[int, list[bytes]]]:
        """Remove the versions that a sync is about, and give them by sector."""
        for index, versions in [*self.dirty.items()]:
            older = [version for number, version in versions if number <= count]
            newer = versions[len(older) :]
            if older:
                yield index, older
            if newer:
                self.dirty[index] = newer
            else:
                del self.dirty[index]

    def versions(self) -> Iterator[tuple[int, list[bytes]]]:
        """Give what each sector may be besides what is stored, in order."""
        for index in sorted({*self.dirty, *self.limbo}):
            dirty = [version for _, version in self.dirty.get(index, ())]
            yield index, [*self.limbo.get(index, ()), *dirty]

    def stored_sector(self, index: int) -> bytes:
        """Return what is durable of a sector; zeros where nothing is."""
        start = index * self.sector
        return bytes(self.stored[start : start + self.sector]).ljust(self.sector, b"\0")

    def overlay(self, content: bytearray, index: int, version: bytes) -> None:
        """Put a version of a sector into a content, which keeps its size."""
        start = index * self.sector
        room = max(0, len(content) - start)
        version = version.ljust(self.sector, b"\0")[:room]
        content[start : start + len(version)] = version

    def copy(self) -> CachedFile:
        """Return a file that goes its own way."""
        twin = CachedFile(self.sector)
        twin.cache = bytearray(self.cache)
        twin.stored = bytearray(self.stored)
        twin.dirty = {index: [*versions] for index, versions in self.dirty.items()}
        twin.limbo = {index: [*versions] for index, versions in self.limbo.items()}
        twin.sizes = [*self.sizes]
        twin.count = self.count
        return twin

    def flip(self, offset: int, mask: int) -> None:
        """Damage a byte wherever it is, as a medium does that ages."""
        self.cache[offset] ^= mask
        if offset < len(self.stored):
            self.stored[offset] ^= mask
        index, place = divmod(offset, self.sector)

        def flipped(version: bytes) -> bytes:
            damaged = bytearray(version)
            damaged[place : place + 1] = [old ^ mask for old in damaged[place:][:1]]
            return bytes(damaged)

        if index in self.dirty:
            self.dirty[index] = [(n, flipped(old)) for n, old in self.dirty[index]]
        if index in self.limbo:
            self.limbo[index] = [*map(flipped, self.limbo[index])]
