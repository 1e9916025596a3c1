"""The pool as a `ThreadPoolExecutor`, for code that insists on the class.

`asyncio.loop.set_default_executor` does; so do some libraries. Everybody else takes a
`ThreadPool` as it is.
"""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from typing_extensions import ParamSpec

from .sync import ThreadPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ._core_job import Job

__all__ = ["PoolExecutor"]

P = ParamSpec("P")
T = TypeVar("T")

_number = itertools.count()


class PoolExecutor(ThreadPoolExecutor):
    """A `ThreadPool` behind the class of the standard library.

    Args:
        max_workers: Workers at most; None means `min(32, cpus + 4)`.
        thread_name_prefix: Threads are called `<prefix>_<number>`.
        initializer: Called in each worker before its first job.
        initargs: The arguments of `initializer`.

    Raises:
        InvalidValue: If `max_workers` is below 1.
        InvalidType: If `initializer` cannot be called.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        # The base is not initialised: it would make a queue and a lock for nothing.
        self.pool: ThreadPool = ThreadPool(
            max_workers=max_workers,
            thread_name_prefix=(
                thread_name_prefix or f"ThreadPoolExecutor-{next(_number)}"
            ),
            initializer=initializer,
            initargs=initargs,
        )

    def submit(
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Job[T]:
        """Queue a call and return its job; see `ThreadPool.submit`."""
        return self.pool.submit(fn, *args, **kwargs)

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """Call `fn` with the items of the iterables; see `ThreadPool.map`."""
        return self.pool.map(
            fn, *iterables, timeout=timeout, chunksize=chunksize, buffersize=buffersize
        )

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Refuse new work; see `ThreadPool.shutdown`."""
        self.pool.shutdown(wait, cancel_futures=cancel_futures)

    if not TYPE_CHECKING:  # plain attributes in the base, which nobody may set here

        @property
        def _max_workers(self) -> object:
            return self.pool.core.maximum

        @property
        def _threads(self) -> object:
            workers = list(self.pool.core.workers)
            return {w.thread for w in workers if w.thread.ident is not None}

        @property
        def _broken(self) -> object:
            return self.pool.core.broken or False
