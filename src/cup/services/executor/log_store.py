"""The durable store of jobs: it keeps them in a store of metadata, on disk.

It is loaded with the first `LogStore.open`, so that executors without one do not pay.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from os import PathLike
    from types import TracebackType

    from typing_extensions import Self, Unpack

    from cup.services.serializer import MetaOptions, MetaStats, MetaStore, UnknownEntry

    from .api import JobStore

__all__ = ["LogStore"]

_log = logging.getLogger("cup.executor")


class LogStore:
    """Keeps stored jobs on disk: they survive a crash of process and machine.

    Use `LogStore.open`. A job is durable when the call returns that hands it in, and
    so is its end once it is written; jobs of many threads share syncs. The files stay
    about as large as the jobs that wait. One process at a time has a store; give it to
    one executor, and close it after that. Thread-safe.

    What is stored is the key of a job and its text: whoever wants to look at it finds
    both by `cup log dump DIR --state`.
    """

    __slots__ = ("_store",)

    def __init__(self, store: MetaStore[str, str]) -> None:
        self._store = store

    @classmethod
    def open(
        cls, directory: str | PathLike[str], **options: Unpack[MetaOptions]
    ) -> LogStore:
        """Open a store of jobs; make it if there is none.

        Args:
            directory: Where it is. It belongs to the store alone.
            options: How it is kept, see `cup.services.serializer.MetaOptions`.

        Raises:
            LogLocked: If another process, or another store, has it open.
            CorruptRecord: If something that was durable is damaged or gone.
            UnsupportedFormat: If a later version wrote it, or it is no store of jobs.
            OSError: If the disk fails.
            InvalidType: If an option has the wrong type.
            InvalidValue: If a value makes no sense.
        """
        from cup.services.serializer import TEXT, MetaStore  # noqa: PLC0415 - lazy

        return LogStore(MetaStore.open(directory, key=TEXT, value=TEXT, **options))

    def load(self) -> Iterable[tuple[str, str]]:
        """Return the key and the text of every job.

        What is no text is reported, and kept.
        """
        for entry in self._store.unknown():
            _log.warning("stored job %r is left alone: %s", entry.key, entry.reason)
        return self._store.items()

    def write(self, saved: Sequence[tuple[str, str]], removed: Sequence[str]) -> None:
        """Keep some jobs and remove others, all or none; durable on return.

        Raises:
            WriteFailed: If it could not be written; nothing has changed.
            LogPoisoned: If the disk did not confirm it; the store takes nothing more.
            LogClosed: If the store is closed.
            ForkedProcess: If this is a forked child.
        """
        self._store.update(saved, delete=removed)

    def unknown(self) -> tuple[UnknownEntry, ...]:
        """Return what is stored and is no job at all; it is kept."""
        return self._store.unknown()

    def stats(self) -> MetaStats:
        """Return the figures of the store under it."""
        return self._store.stats()

    def close(self) -> None:
        """End, and let others open the store; after the executor has stopped.

        Twice does no harm.
        """
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._store)

    def __bool__(self) -> bool:
        return True  # an empty store is a store

    def __repr__(self) -> str:
        return repr(self._store).replace("MetaStore", type(self).__name__, 1)


if TYPE_CHECKING:
    from typing import cast

    _proof: JobStore = cast("LogStore", None)
