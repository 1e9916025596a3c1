"""Actors: one thread or one task each, which does what a test tells it to do.

Public by `cup.testing`. Not here: the two kinds of actors (`_testing_threads`,
`_testing_tasks`), and the loops that tests run on (`_testing_colours`).
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Generic, TypeVar

from cup._core.latch import Latch, LatchAsk
from cup.errors import CupError, WaitTimeout

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from types import TracebackType

    from typing_extensions import Self

__all__ = ["PATIENCE", "Actor", "Actors", "CallCancelled", "Outcome", "Pending"]

T = TypeVar("T")

PATIENCE = 20.0
"""Seconds after which a test is told that nothing comes any more."""


class CallCancelled(CupError):
    """What an actor was doing was cancelled by the test."""


class Outcome(LatchAsk):
    """Waits for the end of an operation."""

    __slots__ = ("_about",)

    def __init__(self, line: Latch, about: str) -> None:
        super().__init__(line)
        self._about = about

    def timed_out(self, timeout: float) -> WaitTimeout:
        """Return the error that says what hangs."""
        return WaitTimeout(f"{self._about} hangs for {timeout} s", timeout=timeout)


class Pending(ABC, Generic[T]):
    """One operation of an actor, which may not be over yet.

    Attributes:
        about: What it is, for messages.
    """

    _value: T

    def __init__(self, about: str) -> None:
        self.about: str = about
        self._returned = False
        self._error: BaseException | None = None
        self._ended = Latch()

    @property
    def done(self) -> bool:
        """Whether it is over, well or not."""
        return self._ended.opened

    @abstractmethod
    def cancel(self) -> None:
        """End it: interrupt the thread, or cancel the task, inside of this call only.

        It does nothing if the call is over; a test learns that from its `result`.
        """

    async def result(self, timeout: float = PATIENCE) -> T:
        """Wait until it is over, and return what it returned.

        Args:
            timeout: Seconds after which the test fails.

        Raises:
            WaitTimeout: If it hangs.
            CallCancelled: If it was cancelled.
            BaseException: What it raised.
        """
        await self._wait(Outcome(self._ended, self.about), timeout)
        if self._error is not None:
            raise self._error

        return self._value

    @abstractmethod
    async def _wait(self, ask: Outcome, timeout: float) -> None:
        """Wait in the way of the colour."""

    def _keep(self, value: T) -> None:
        """Keep what was returned: whatever is cancelled now comes too late."""
        self._value = value
        self._returned = True

    def _end(self, error: BaseException | None, *, cancelled: bool = False) -> None:
        if not self._returned:
            self._error = error
            if cancelled:
                self._error = CallCancelled(f"{self.about} was cancelled")
        self._ended.open()

    def __repr__(self) -> str:
        return f"<{self.about}: {'done' if self.done else 'pending'}>"


class Actor(ABC):
    """One thread or one task, with the face of a service that fits it.

    It does one thing after the other. What it locks is locked by itself, until it
    unlocks it.
    """

    _enter = "__enter__"
    _exit = "__exit__"

    def __init__(self, name: str, face: object) -> None:
        self.name: str = name
        self._face = face

    @abstractmethod
    def start(self, method: str, /, *args: object, **kwargs: object) -> Pending[object]:
        """Begin to call a method of the face in this thread or task; do not wait.

        Raises:
            RuntimeError: If the actor has not finished something else.
        """

    @abstractmethod
    def of(self, sync: object, aio: object) -> Actor:
        """Return the same thread or task with another pair of faces."""

    async def call(self, method: str, /, *args: object, **kwargs: object) -> object:
        """Call a method of the face; return what it returns, raise what it raises."""
        return await self.start(method, *args, **kwargs).result()

    @contextlib.asynccontextmanager
    async def within(
        self, method: str, /, *args: object, **kwargs: object
    ) -> AsyncGenerator[object]:
        """Have the actor inside of a block: `async with ann.within("read"): ...`.

        The actor can be told to do other things meanwhile. It leaves its block as if
        nothing had happened, whatever the test raises.
        """
        manager = await self.call(method, *args, **kwargs)
        block = self.of(manager, manager)
        entered = await block.call(self._enter)
        try:
            yield entered
        finally:
            await block.call(self._exit, None, None, None)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"


class Actors(ABC):
    """The actors of one test; what they have not finished at its end is cancelled."""

    @abstractmethod
    def hire(self, name: str) -> Actor:
        """Start an actor."""

    @abstractmethod
    async def __aenter__(self) -> Self:
        """Open the stage."""

    @abstractmethod
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        """Cancel what is not done, and let the threads and tasks end."""


def busy(name: str, with_: str) -> RuntimeError:
    """Return the error of who is told to do two things at once."""
    return RuntimeError(
        f"actor {name!r} is busy with {with_}: await its result, or hire another actor"
    )
