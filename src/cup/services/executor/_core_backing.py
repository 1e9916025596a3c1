"""The executor behind a crew: given by the user, or made, and made anew if it breaks.

Not here: which jobs it gets, and when (`_core_foreign`).
"""

from __future__ import annotations

import threading
from concurrent.futures import BrokenExecutor, Executor
from typing import TYPE_CHECKING, Final

from cup.errors import InvalidType

if TYPE_CHECKING:
    from collections.abc import Callable

    from .api import Backend

__all__ = ["Backing"]

_left_behind: Final[list[Executor]] = []


class Backing:
    """Has one executor at a time, from the first job on.

    Attributes:
        executor: The one in use; None before the first job and after a break.
    """

    __slots__ = ("_broken", "_make", "executor")

    def __init__(self, backend: Backend) -> None:
        self._make: Callable[[], Executor] | None = None
        self._broken: list[Executor] = []
        self.executor: Executor | None = None
        if isinstance(backend, Executor):
            self.executor = backend
        elif callable(backend):
            self._make = backend
        else:
            raise InvalidType(
                "a backend is a concurrent.futures.Executor, or a function that makes "
                f"one, not {backend!r}"
            )

    def held(self) -> int:
        """Return how many executors are to be shut down by `shut`, or just now."""
        own = self._make is not None and self.executor is not None
        return int(own) + len(self._broken)

    def open(self) -> Executor:
        """Return the executor; makes one if there is none."""
        executor = self.executor
        if executor is None:
            assert self._make is not None, "an executor that was given stays"
            executor = self.executor = self._make()
        return executor

    def shut(self) -> bool:
        """Shut down what was made; False if there is nothing of that kind."""
        executor = self.executor
        if self._make is None or executor is None:
            return False

        executor.shutdown(wait=True)
        self.executor = None
        return True

    def lose(
        self,
        executor: Executor,
        error: BaseException,
        buried: Callable[[], None],
    ) -> bool:
        """Part with an executor if this error broke it.

        A broken process pool must not be collected while its own thread tells what
        became of the jobs, which is where this is called: before CPython 3.13.1 that
        thread would wait for a lock that it holds. So another one keeps the pool until
        it has ended.

        Args:
            executor: Who had the job.
            error: What came of the job.
            buried: Called when the broken executor has ended.

        Returns:
            Whether another executor can take its place.
        """
        if not isinstance(error, BrokenExecutor) or self._make is None:
            return False

        if executor is self.executor:
            self._broken.append(executor)
            self.executor = None
            # A daemon: what is broken may never end, and the interpreter has to.
            threading.Thread(
                target=self._bury,
                args=(executor, buried),
                name="cup-broken-executor",
                daemon=True,
            ).start()
        return True

    def _bury(self, executor: Executor, buried: Callable[[], None]) -> None:
        try:
            executor.shutdown(wait=True)
        finally:
            self._broken.remove(executor)
            buried()

    def abandon(self) -> None:
        """Begin anew in a forked child: what was made belongs to the parent.

        It is never collected here: its locks may have been held when the process was
        forked, and nobody will ever release them.
        """
        if self._make is not None:
            if self.executor is not None:
                _left_behind.append(self.executor)
            self.executor = None
        _left_behind.extend(self._broken)
        self._broken.clear()
