"""What keeps a pool alive, and what every face of it can do without waiting.

All faces of one pool hold one `Handle`. When the last face has gone, the pool finishes
what is queued and lets its threads go; the threads hold the core alone.
"""

from __future__ import annotations

import logging
import weakref
from typing import TYPE_CHECKING

from ._core import PoolCore
from ._core_settings import check_bounds
from .api import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Self

    from ._core_settings import Settings
    from .api import PoolStats

__all__ = ["Face", "Handle"]

_log = logging.getLogger("cup.threadpool")


class Handle:
    """Dies with the last face of a pool."""

    __slots__ = ("__weakref__", "core")

    def __init__(self, settings: Settings) -> None:
        self.core: PoolCore = PoolCore(settings)
        weakref.finalize(self, self.core.retire_all).atexit = False


class Face:
    """A pool, as seen by its user. Faces of one pool with equal options are equal."""

    __slots__ = ("__weakref__", "_core", "_handle", "_limits", "_simple")

    def __init__(self, handle: Handle, limits: Limits) -> None:
        self._handle = handle
        self._core = handle.core
        self._limits = limits
        self._simple = limits == Limits(on_cancel=limits.on_cancel)

    @classmethod
    def over(cls, handle: Handle) -> Self:
        """Return a face of a pool that exists."""
        face = cls.__new__(cls)
        Face.__init__(face, handle, Limits())
        return face

    @property
    def core(self) -> PoolCore:
        """The pool itself, for this package."""
        return self._core

    @property
    def name(self) -> str:
        """The name of the pool."""
        return self._core.name

    def start(self) -> None:
        """Make the pool take work, with its minimum of workers.

        On a running pool it does nothing; a stopped or broken one starts anew.

        Raises:
            PoolClosed: While it is stopping.
        """
        self._core.start()

    def resize(
        self, minthreads: int | None = None, maxthreads: int | None = None
    ) -> None:
        """Change how many workers there are, at once and in both directions.

        Workers that are too many end after their job.

        Args:
            minthreads: Workers that are kept; None leaves it as it is.
            maxthreads: Workers at most; None leaves it as it is.

        Raises:
            InvalidValue: If the bounds make no sense.
            InvalidType: If one is not an int.
        """
        core = self._core
        minimum = core.minimum if minthreads is None else minthreads
        maximum = core.maximum if maxthreads is None else maxthreads
        check_bounds(minimum, maximum)
        core.resize(minimum, maximum)

    def adjust_poolsize(
        self, minthreads: int | None = None, maxthreads: int | None = None
    ) -> None:
        """Change how many workers there are: the older name of `resize`."""
        self.resize(minthreads, maxthreads)

    def start1worker(self) -> bool:
        """Start one more worker; False if the maximum does not allow it."""
        return self._core.start_one()

    def stop1worker(self) -> bool:
        """Let one worker go after its job; False if the minimum does not allow it."""
        return self._core.stop_one()

    def stats(self) -> PoolStats:
        """Return the figures of this moment."""
        return self._core.stats()

    def get_stats(self) -> dict[str, int]:
        """Return the figures that the older library gave, by its names."""
        stats = self._core.stats()
        return {
            "queue_len": stats.queued,
            "waiters_num": stats.idle,
            "working_num": stats.running,
            "thread_num": stats.workers,
        }

    def dump_stats(self, print_stdout: bool = False) -> dict[str, int]:
        """Log the figures of `get_stats` and return them.

        Args:
            print_stdout: Print them, too.
        """
        figures = self.get_stats()
        line = f"pool {self.name!r}: " + ", ".join(
            f"{key} {value}" for key, value in figures.items()
        )
        _log.info("%s", line)
        if print_stdout:
            print(line)  # noqa: T201 - asked for
        return figures

    def __repr__(self) -> str:
        core = self._core
        kind = type(self).__name__
        return (
            f"<{kind} {core.name!r} {len(core.running)}/{core.maximum} workers, "
            f"{len(core.queue)} queued, {core.state().value}>"
        )

    def __rich_repr__(self) -> Iterator[tuple[str, object]]:
        yield "name", self.name
        stats = self._core.stats()
        yield "state", stats.state.value
        yield "workers", stats.workers
        yield "running", stats.running
        yield "queued", stats.queued
        yield "done", stats.done

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Face) or type(other) is not type(self):
            return NotImplemented

        return self._handle is other._handle and self._limits == other._limits

    def __hash__(self) -> int:
        return hash((id(self._handle), self._limits))

    def __reduce__(self) -> str:
        raise TypeError(
            f"{type(self).__name__} {self.name!r} cannot be pickled: "
            "its threads belong to this process; make a pool in each process"
        )
