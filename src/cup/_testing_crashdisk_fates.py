"""What a crash makes of a disk: which of all that was not durable is there afterwards.

A medium may have stored each dirty sector, an older version of it, a part of it, or
nothing, in any order, and the same goes for sizes and names. What is the same before
and after is safe: sectors do not rot because something beside them is written.

Not here: what was written (`_testing_crashdisk_image`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from ._testing_crashdisk_image import ROOT, Image, NameChange

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from ._testing_crashdisk_file import CachedFile

__all__ = ["KINDS", "RANDOM_KINDS", "CrashKind", "Remains", "remains"]

CrashKind: TypeAlias = Literal[
    "kill",
    "kept",
    "lost",
    "names",
    "hollow",
    "prefix",
    "suffix",
    "zeros",
    "garbage",
    "mixed",
]
"""What a crash does.

- `kill`: the process dies, the system lives on: its cache is as it was, with what is
  durable beneath, and what a failed sync has lost.
- `kept`: the power fails, and all was stored by luck.
- `lost`: nothing was that had to be synced.
- `names`: contents were, changes of names were not.
- `hollow`: names and sizes were, contents were not.
- `prefix`: what came first, up to the middle of a sector.
- `suffix`: what came last.
- `zeros`, `garbage`: some sectors were; others are zeros, or anything.
- `mixed`: all of this at once.
"""

KINDS: Final[tuple[CrashKind, ...]] = (
    "kill",
    "kept",
    "lost",
    "names",
    "hollow",
    "prefix",
    "suffix",
    "zeros",
    "garbage",
    "mixed",
)
RANDOM_KINDS: Final[frozenset[CrashKind]] = frozenset(KINDS[5:])

Remains: TypeAlias = "tuple[dict[str, bytes], frozenset[str]]"
"""The files with their contents, and the directories."""


def remains(image: Image, kind: CrashKind, rng: Random) -> Remains:
    """Return what is there after a crash."""
    names = {node: dict(place.stored) for node, place in image.directories.items()}
    if kind == "kill":
        names = {node: dict(place.names) for node, place in image.directories.items()}
    else:
        for change in _durable(image.changes, kind, rng):
            if change.removed is not None:
                names[change.removed[0]].pop(change.removed[1], None)
            if change.added is not None:
                names[change.added[0]][change.added[1]] = change.node

    files: dict[str, bytes] = {}
    directories: set[str] = set()
    for path, node in _walk(names, ROOT, ""):
        if node in image.files:
            files[path] = _content(image.files[node], kind, rng)
        else:
            directories.add(path)
    return files, frozenset(directories)


def _walk(
    names: dict[int, dict[str, int]], place: int, path: str
) -> Iterator[tuple[str, int]]:
    for name, node in sorted(names[place].items()):
        yield f"{path}/{name}", node
        if node in names:
            yield from _walk(names, node, f"{path}/{name}")


def _durable(
    changes: list[NameChange], kind: CrashKind, rng: Random
) -> list[NameChange]:
    """Choose the changes of names that were stored."""
    if kind in {"lost", "names"}:
        return []
    if kind == "mixed":
        return [change for change in changes if rng.getrandbits(1)]
    if kind == "prefix":
        return changes[: rng.randint(0, len(changes))]
    if kind == "suffix":
        return changes[rng.randint(0, len(changes)) :]
    return changes


def _content(file: CachedFile, kind: CrashKind, rng: Random) -> bytes:
    """Choose what was stored of a file."""
    if kind == "kill":
        return bytes(file.cache)

    size = len(file.cache)
    if kind == "lost":
        size = len(file.stored)
    elif kind == "mixed":
        size = rng.choice([len(file.stored), *(size for _, size in file.sizes)])
    content = file.stored[:size].ljust(size, b"\0")
    unsure = [*file.versions()]
    cut = rng.randrange(len(unsure)) if unsure else 0
    for position, (index, versions) in enumerate(unsure):
        sector = _Sector(file, index, versions, rng)
        file.overlay(content, index, sector.after(kind, position - cut))
    return bytes(content)


class _Sector:
    """A sector that was written and not synced."""

    def __init__(
        self, file: CachedFile, index: int, versions: list[bytes], rng: Random
    ) -> None:
        self._old = file.stored_sector(index)
        self._versions = [one.ljust(file.sector, b"\0") for one in versions]
        self._rng = rng

    def after(self, kind: CrashKind, past_the_cut: int) -> bytes:
        """Return its content after a crash."""
        new, rng = self._versions[-1], self._rng
        if kind in {"kept", "names"}:
            return new
        if kind == "prefix" and past_the_cut <= 0:
            return new if past_the_cut < 0 else self._torn(new)
        if kind == "suffix" and past_the_cut >= 0:
            return new
        if kind in {"zeros", "garbage"}:
            return new if rng.getrandbits(1) else self._spoilt(new, kind)
        return self._mixed() if kind == "mixed" else self._old

    def _mixed(self) -> bytes:
        """Return any content of all that are possible."""
        version = self._rng.choice(self._versions)
        fate = self._rng.choice(["old", "new", "newest", "torn", "zeros", "garbage"])
        if fate == "torn":
            return self._torn(version)
        if fate in {"zeros", "garbage"}:
            return self._spoilt(version, fate)
        whole = {"old": self._old, "new": version, "newest": self._versions[-1]}
        return whole[fate]

    def _torn(self, new: bytes) -> bytes:
        """Return a sector where what was written was stored in part."""
        old = self._old
        changed = [place for place, byte in enumerate(new) if byte != old[place]]
        end = self._rng.randint(changed[0], changed[-1]) if changed else 0
        return new[:end] + old[end:]

    def _spoilt(self, new: bytes, kind: str) -> bytes:
        """Return a sector where what was written is something else."""
        size = len(new)
        noise = bytes(size) if kind == "zeros" else self._rng.randbytes(size)
        return bytes(
            one if one == other else spoilt
            for one, other, spoilt in zip(new, self._old, noise, strict=True)
        )
