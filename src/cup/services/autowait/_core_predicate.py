"""The probe of a function that says whether something holds."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from typing_extensions import override

from ._core_verdicts import NOT_YET, Met, Probe

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from ._core_verdicts import Look, Verdict, Watching
    from .conditions import Predicate

__all__ = ["PredicateProbe"]


class PredicateProbe(Probe[object]):
    """Calls a function; one that is awaited is called by the driver, see `put`."""

    __slots__ = ("_answer", "_async", "_called", "_error", "_pending", "_predicate")

    def __init__(self, condition: Predicate[object]) -> None:
        super().__init__(condition)
        self._predicate = condition
        self._async = condition.is_async()
        self._called: float | None = None
        self._answer: object = None
        self._error: Exception | None = None
        self._pending: Awaitable[object] | None = None
        self.unsure = True  # until it has answered

    def is_async(self) -> bool:
        """Tell whether the function is awaited."""
        return self._async

    def put_off(self) -> None:
        """Leave all calls to the driver: looks are made in another thread."""
        self._async = True

    def is_awaited(self, look: Look) -> bool:
        """Tell whether to await the function now."""
        return self._pending is not None or (self._async and self.is_due(look))

    def is_due(self, look: Look) -> bool:
        """Tell whether to call it now."""
        if self._called is None or look.rung:
            return True

        if self._called == look.now:
            return False
        return look.last or look.now - self._called >= self._predicate.every

    @override
    def arm(self, watching: Watching) -> None:
        """Say that nothing tells of a change."""
        watching.by(f"calls every {self._predicate.every:g} s")

    @override
    def check(self, look: Look) -> Verdict[object]:
        """Call the function, if it is time to, and look at its answer."""
        if not self._async and self.is_due(look):
            self._called = look.now
            try:
                self._take(self._predicate.fn())
            except self._predicate.ignoring as error:
                self.put_error(error)
        called = look.now if self._called is None else self._called
        self.more = self._pending is not None
        self.due = look.now if self.more else called + self._predicate.every
        return Met(self._answer) if self._answer else NOT_YET

    async def call(self, now: float) -> None:
        """Await the function, in the task that waits."""
        self._called = now
        pending, self._pending = self._pending, None
        try:
            answer = self._predicate.fn() if pending is None else pending
            self.put(await answer if inspect.isawaitable(answer) else answer)
        except self._predicate.ignoring as error:
            self.put_error(error)

    def _take(self, answer: object) -> None:
        """Keep an answer; one to be awaited shows what only the call could tell."""
        if inspect.isawaitable(answer):
            self._async = True
            self._pending = answer
        else:
            self.put(answer)

    def put(self, answer: object) -> None:
        """Keep what the function said."""
        self._answer = answer
        self._error = None
        self.unsure = False

    def put_error(self, error: Exception) -> None:
        """Keep what the function raised."""
        self._answer = None
        self._error = error
        self.unsure = False

    @override
    def close(self) -> None:
        """Let go of an answer that nobody awaits any more."""
        pending, self._pending = self._pending, None
        if inspect.iscoroutine(pending):
            pending.close()

    @override
    def seen(self) -> str:
        """Say what the function said last."""
        if self._called is None:
            return "it was not called"
        if self._error is not None:
            return f"it raised {self._error!r}"
        return f"it returned {self._answer!r}"
