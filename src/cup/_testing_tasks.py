"""Actors that are tasks, with the async face of a service; see `_testing_actors`.

Imported where a loop runs: it loads anyio.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from anyio import CancelScope, create_task_group

from ._core.loops import TaskWaiter, ablock, current_loop, wait_until
from ._testing_actors import Actor, Actors, Pending, busy

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from anyio.abc import TaskGroup
    from typing_extensions import Self

    from ._testing_actors import Outcome

__all__ = ["TaskActors"]


class _TaskCall(Pending[object]):
    """An operation of a task."""

    def __init__(self, about: str, call: Callable[[], object]) -> None:
        super().__init__(about)
        self._call = call
        self._scope = CancelScope()

    def cancel(self) -> None:
        """Cancel what the task is at, but not the task."""
        self._scope.cancel()

    async def _wait(self, ask: Outcome, timeout: float) -> None:
        await ablock(ask, timeout)

    async def run(self) -> None:
        """Do it, in the task."""
        error: BaseException | None = None
        try:
            with self._scope:
                value = self._call()
                if inspect.isawaitable(value):
                    value = await value
                self._keep(value)
        except Exception as caught:  # noqa: BLE001 - it goes to the test
            error = caught
        except BaseException as caught:
            self._end(caught, cancelled=True)
            raise
        self._end(error, cancelled=self._scope.cancelled_caught)


class _Task:
    """A task that does one thing after the other."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._current: _TaskCall | None = None
        self._waiter: TaskWaiter | None = None

    def begin(self, call: _TaskCall) -> None:
        """Hand the task what it has to do."""
        if self._current is not None:
            raise busy(self.name, self._current.about)

        self._current = call
        if self._waiter is not None:
            self._waiter.set()

    async def run(self) -> None:
        """Do what comes, until cancelled."""
        self._waiter = current_loop().make_waiter()
        while True:
            await wait_until(lambda: self._current is not None, self._waiter)
            call = self._current
            if call is not None:
                try:
                    await call.run()
                finally:
                    self._current = None


class TaskActor(Actor):
    """An actor that is a task."""

    _enter = "__aenter__"
    _exit = "__aexit__"

    def __init__(self, task: _Task, face: object) -> None:
        super().__init__(task.name, face)
        self._task = task

    def start(self, method: str, /, *args: object, **kwargs: object) -> Pending[object]:
        """Begin to call a method of the async face in this task."""
        function: Callable[..., object] = getattr(self._face, method)
        call = _TaskCall(
            f"{method}() of {self.name!r}", lambda: function(*args, **kwargs)
        )
        self._task.begin(call)
        return call

    def of(self, sync: object, aio: object) -> Actor:  # noqa: ARG002 - for the other kind
        """Return the same task with another async face."""
        return TaskActor(self._task, aio)


class TaskActors(Actors):
    """Actors that are tasks of the loop that runs."""

    def __init__(self, face: object) -> None:
        self._face = face
        self._group: TaskGroup = create_task_group()

    def hire(self, name: str) -> Actor:
        """Start a task."""
        task = _Task(name)
        self._group.start_soon(task.run, name=name)
        return TaskActor(task, self._face)

    async def __aenter__(self) -> Self:
        """Open the stage."""
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        """Cancel what is not done, and wait for the tasks."""
        self._group.cancel_scope.cancel()
        if not isinstance(error, Exception):
            return await self._group.__aexit__(kind, error, traceback)

        # What a test raises is raised as it is, not in an exception group.
        await self._group.__aexit__(None, None, None)
        return None
