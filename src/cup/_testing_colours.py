"""The four colours: threads, asyncio, asyncio on uvloop, trio.

Public by `cup.testing`. No event loop is imported before a test runs in it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib.util import find_spec
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

from typing_extensions import TypeVarTuple, Unpack

from ._core import running
from ._core.park import LockParker
from ._testing_actors import PATIENCE, Actors
from .errors import MissingExtra, WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["COLOURS", "Colour", "available_colours"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_GLANCE = 0.0005  # seconds between two looks at a state


class Colour(ABC):
    """One of the ways in which concurrent code runs; `str` gives its name.

    Attributes:
        name: "threads", "asyncio", "uvloop" or "trio".
    """

    name: str

    def __init__(self, name: str, needs: str = "") -> None:
        self.name = name
        self._needs = needs

    @property
    def available(self) -> bool:
        """Whether the package that it needs is installed."""
        return not self._needs or find_spec(self._needs) is not None

    def run(
        self, main: Callable[[Unpack[Ts]], Awaitable[T]], /, *args: Unpack[Ts]
    ) -> T:
        """Run an async function to its end in this colour, and return its result.

        In threads no event loop runs: such a function may await nothing but what
        actors and colours return, which wait in the thread of the test. On a loop a
        sync face that would block it raises, as in `strict_blocking`.

        Args:
            main: The async function.
            *args: Its arguments.

        Raises:
            MissingExtra: If the package of the loop is not installed.
            BaseException: What `main` raised.
        """
        if not self.available:
            raise MissingExtra(
                f"{self.name} needs the package {self._needs}: "
                f"pip install {self._needs}",
                requirement=self._needs,
            )

        return self._run(main, *args)

    @abstractmethod
    def _run(
        self, main: Callable[[Unpack[Ts]], Awaitable[T]], *args: Unpack[Ts]
    ) -> T: ...

    @abstractmethod
    def actors(self, sync: object, aio: object) -> Actors:
        """Return the stage for actors, to be entered by `async with`.

        Args:
            sync: What actors that are threads call; a service.
            aio: What actors that are tasks call; the async face of the same service.
        """

    async def until(
        self, predicate: Callable[[], object], timeout: float = PATIENCE
    ) -> None:
        """Wait until a state is there; it is looked at every half millisecond.

        Args:
            predicate: Tells whether it is there.
            timeout: Seconds after which the test fails.

        Raises:
            WaitTimeout: If it never came.
        """
        deadline = monotonic() + timeout
        while not predicate():
            if monotonic() >= deadline:
                raise WaitTimeout(
                    f"the awaited state did not come within {timeout} s: {predicate!r}",
                    timeout=timeout,
                )

            await self._pause()

    @abstractmethod
    async def _pause(self) -> None: ...

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<Colour {self.name}>"


class _Threads(Colour):
    """Each actor is a thread, and the test itself is one."""

    def _run(self, main: Callable[[Unpack[Ts]], Awaitable[T]], *args: Unpack[Ts]) -> T:
        steps = main(*args).__await__()
        try:
            next(steps)
        except StopIteration as end:
            value: T = end.value
            return value
        steps.close()
        raise RuntimeError(
            "no event loop runs in the threads colour: a test in four colours awaits "
            "its actors and its colour only"
        )

    def actors(self, sync: object, aio: object) -> Actors:  # noqa: ARG002 - for loops
        """Return the stage for actors that are threads."""
        from ._testing_threads import ThreadActors  # noqa: PLC0415 - its twin is lazy

        return ThreadActors(sync)

    async def _pause(self) -> None:
        LockParker().park_until(monotonic() + _GLANCE)


class _Loop(Colour):
    """Each actor is a task, and the test itself is one."""

    def __init__(
        self, name: str, needs: str = "", *, backend: str, **options: object
    ) -> None:
        super().__init__(name, needs)
        self._backend = backend
        self._options = options

    def _run(self, main: Callable[[Unpack[Ts]], Awaitable[T]], *args: Unpack[Ts]) -> T:
        import anyio  # noqa: PLC0415 - loads event loops

        before = running.set_strict(strict=True)
        try:
            return anyio.run(
                main, *args, backend=self._backend, backend_options=self._options
            )
        finally:
            running.set_strict(strict=before)

    def actors(self, sync: object, aio: object) -> Actors:  # noqa: ARG002 - for threads
        """Return the stage for actors that are tasks of the loop that runs."""
        from ._testing_tasks import TaskActors  # noqa: PLC0415 - loads event loops

        return TaskActors(aio)

    async def _pause(self) -> None:
        from ._core.loops import current_loop, wait_until  # noqa: PLC0415 - loads loops

        await wait_until(lambda: False, current_loop().make_waiter(), _GLANCE)


COLOURS: tuple[Colour, ...] = (
    _Threads("threads"),
    _Loop("asyncio", backend="asyncio"),
    _Loop("uvloop", "uvloop", backend="asyncio", use_uvloop=True),
    _Loop("trio", "trio", backend="trio"),
)
"""All four."""


def available_colours() -> list[Colour]:
    """Return the colours whose packages are installed here."""
    return [colour for colour in COLOURS if colour.available]
