"""Actors that are threads, with the sync face of a service; see `_testing_actors`."""

from __future__ import annotations

from _thread import allocate_lock
from typing import TYPE_CHECKING

from ._core.interrupt import Target
from ._core.park import LockParker
from ._core.threads import OwnThread, join_within
from ._core.wait import block
from ._testing_actors import PATIENCE, Actor, Actors, Pending, busy
from .errors import WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self

    from ._testing_actors import Outcome

__all__ = ["ThreadActors"]


class _Interrupted(BaseException):
    """Ends an operation of a thread."""


class _ThreadCall(Pending[object]):
    """An operation of a thread."""

    def __init__(self, about: str, call: Callable[[], object], thread: _Thread) -> None:
        super().__init__(about)
        self._call = call
        self._thread = thread

    def cancel(self) -> None:
        """Interrupt the thread, if it is still at it."""
        self._thread.interrupt(self)

    async def _wait(self, ask: Outcome, timeout: float) -> None:
        block(ask, timeout)

    def run(self, target: Target) -> None:
        """Do it, in the thread, which has interrupts masked before and after."""
        masked = False
        error: BaseException | None = None
        try:
            try:
                target.unmask()
                self._keep(self._call())
            finally:
                target.mask()
                masked = True
        except BaseException as caught:  # noqa: BLE001 - it goes to the test
            if not masked:  # the interrupt came on the way into the mask
                target.mask()
            error = caught
        self._thread.finish()
        self._end(error, cancelled=isinstance(error, _Interrupted))


class _Thread:
    """A thread that does one thing after the other."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._current: _ThreadCall | None = None
        self._dismissed = False
        self._parker = LockParker()
        self._claims = allocate_lock()
        self._target = Target()
        # A daemon: a test of what hangs must be able to fail, and end.
        self._thread = OwnThread(self._run, name=name, daemon=True)
        self._thread.start()

    def begin(self, call: _ThreadCall) -> None:
        """Hand the thread what it has to do."""
        if self._current is not None:
            raise busy(self.name, self._current.about)

        self._current = call
        self._parker.wake()

    def interrupt(self, call: _ThreadCall) -> None:
        """End a call, if it is not over."""
        with self._claims:
            if self._current is call:
                self._target.post(_Interrupted)

    def finish(self) -> None:
        """See to it that no interrupt of the call comes any more; in the thread."""
        with self._claims:
            self._current = None
            self._target.withdraw()

    def dismiss(self) -> None:
        """Cancel what the thread does, and let it end."""
        self._dismissed = True
        current = self._current
        if current is not None:
            current.cancel()
        self._parker.wake()

    def await_end(self) -> None:
        """Wait for the end of the thread."""
        if not join_within(self._thread, PATIENCE):
            about = "nothing" if self._current is None else self._current.about
            raise WaitTimeout(
                f"the thread of actor {self.name!r} does not end; it is at {about}",
                timeout=PATIENCE,
            )

    def _run(self) -> None:
        self._target.open()
        self._target.mask()
        while True:
            call = self._current
            if call is not None:
                call.run(self._target)
                del call
            elif self._dismissed:
                break
            else:
                self._parker.park()
        self._target.close()


class ThreadActor(Actor):
    """An actor that is a thread."""

    def __init__(self, thread: _Thread, face: object) -> None:
        super().__init__(thread.name, face)
        self._thread = thread

    def start(self, method: str, /, *args: object, **kwargs: object) -> Pending[object]:
        """Begin to call a method of the sync face in this thread."""
        function: Callable[..., object] = getattr(self._face, method)
        call = _ThreadCall(
            f"{method}() of {self.name!r}",
            lambda: function(*args, **kwargs),
            self._thread,
        )
        self._thread.begin(call)
        return call

    def of(self, sync: object, aio: object) -> Actor:  # noqa: ARG002 - for the other kind
        """Return the same thread with another sync face."""
        return ThreadActor(self._thread, sync)


class ThreadActors(Actors):
    """Actors that are threads."""

    def __init__(self, face: object) -> None:
        self._face = face
        self._threads: list[_Thread] = []

    def hire(self, name: str) -> Actor:
        """Start a thread."""
        thread = _Thread(name)
        self._threads.append(thread)
        return ThreadActor(thread, self._face)

    async def __aenter__(self) -> Self:
        """Open the stage."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Interrupt what is not done, and wait for the threads."""
        for thread in self._threads:
            thread.dismiss()
        for thread in self._threads:
            thread.await_end()
