"""The states that a crash may leave, at each point of a trace."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import TYPE_CHECKING

from ._testing_crashdisk_fates import RANDOM_KINDS, CrashKind, remains
from ._testing_crashdisk_image import DiskEvent, Image, split_path

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping

    from ._testing_crashdisk import CrashDisk

__all__ = ["CrashState", "Crashes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CrashState:
    """What a machine may hold after a crash.

    Attributes:
        point: How many events had happened.
        kind: What the crash did.
        variant: Which of the states of this point and kind it is.
        event: The last event before; None if there was none.
        notes: What the test had noted until then.
        files: Path -> content of what programs will see.
        directories: The directories there are, besides the root.
    """

    point: int
    kind: CrashKind
    variant: int
    event: DiskEvent | None
    notes: tuple[object, ...] = field(repr=False)
    files: Mapping[str, bytes] = field(repr=False)
    directories: frozenset[str] = field(repr=False)
    _image: Image | None = field(repr=False)
    _make: Callable[[CrashState], CrashDisk] = field(repr=False)

    def mount(self) -> CrashDisk:
        """Return a disk that holds this, and has a trace of its own.

        After a `kill` it has the cache of the old one, with what is not durable yet.
        """
        return self._make(self)

    def image(self, sector: int) -> Image:
        """Return what the disk is to start from."""
        if self._image is not None:
            return self._image.copy()
        return Image.of(sector, self.files, self.directories)

    def write_to(self, folder: str | Path) -> None:
        """Write all of it into a real folder, for programs that know no `Disk`.

        Args:
            folder: Stands for the root. It is made if it is missing.

        Raises:
            OSError: If that is not possible.
        """
        root = Path(folder)
        root.mkdir(parents=True, exist_ok=True)
        for path in sorted(self.directories):
            root.joinpath(*split_path(path)).mkdir(exist_ok=True)
        for path, content in self.files.items():
            root.joinpath(*split_path(path)).write_bytes(content)

    def __str__(self) -> str:
        after = f"after {self.event}" if self.event else "at the beginning"
        return (
            f"crash at point {self.point} ({after}), kind {self.kind!r}, "
            f"variant {self.variant}, {len(self.notes)} notes"
        )


class Crashes:
    """Goes through a trace, and gives what may be left at each point."""

    __slots__ = ("_image", "_make", "_seed", "_trace")

    def __init__(
        self,
        image: Image,
        trace: list[DiskEvent],
        seed: int,
        make: Callable[[CrashState], CrashDisk],
    ) -> None:
        self._image = image
        self._trace = trace
        self._seed = seed
        self._make = make

    def states(
        self, kinds: Iterable[CrashKind], points: Container[int] | None, variants: int
    ) -> Iterator[CrashState]:
        """Give them, each once."""
        given: set[int] = set()
        chosen: list[tuple[CrashKind, int]] = [
            (kind, variant)
            for kind in kinds
            for variant in range(variants if kind in RANDOM_KINDS else 1)
        ]
        notes: tuple[object, ...] = ()
        for point, event in enumerate([None, *self._trace]):
            if event is not None:
                self._image.apply(event)
                notes += (event.note,) if event.operation == "note" else ()
            if points is not None and point not in points:
                continue
            for kind, variant in chosen:
                rng = Random(f"{self._seed} {point} {kind} {variant}")  # noqa: S311 - the same each time
                files, directories = remains(self._image, kind, rng)
                if kind == "kill" or _is_new(given, files, directories, len(notes)):
                    yield CrashState(
                        point=point,
                        kind=kind,
                        variant=variant,
                        event=event,
                        notes=notes,
                        files=MappingProxyType(files),
                        directories=directories,
                        _image=self._image.copy() if kind == "kill" else None,
                        _make=self._make,
                    )


def _is_new(
    given: set[int],
    files: Mapping[str, bytes],
    directories: frozenset[str],
    notes: int,
) -> bool:
    """Tell whether a state was not given yet, and keep it in mind."""
    mark = hash((tuple(sorted(files.items())), directories, notes))
    new = mark not in given
    given.add(mark)
    return new
