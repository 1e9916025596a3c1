"""The engine of a wait: arm, check, sleep, repeat, without doing any of it.

It is told the time and whether something was heard, asks the probe of the condition to
look and to declare what it depends on, and says until when to sleep. The drivers
(`sync`, `aio`) sleep; `_core_watch` listens.

The order makes that nothing is lost: what is armed is armed before the look that
follows, so a change comes before the look and is seen, or after it and is heard.
"""

from __future__ import annotations

from _thread import allocate_lock
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeAlias, TypeVar

from cup.errors import ConditionTimeout, InvalidType, WaitFailed

from ._core_predicate import PredicateProbe
from ._core_probes import make_probe
from ._core_verdicts import Failed, Look, Met

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from ._core_verdicts import Probe, Verdict
    from ._core_watch import Watch
    from .api import Condition, Report

__all__ = ["Engine", "Rest", "Step"]

T = TypeVar("T")

_LEAST_SAFETY: Final = 0.01
_LAST_CALL: Final = 0.05  # seconds for a function that is awaited at the very end


@dataclass(frozen=True, slots=True)
class Rest:
    """Sleep until something is heard, or until then; None is for ever."""

    until: float | None


Step: TypeAlias = "Met[T] | Rest"


class Engine(Generic[T]):
    """One wait for one condition.

    Args:
        condition: What to wait for.
        watch: Listens for it.
        timeout: A checked time-out.
        safety: Seconds after which to look again though nothing was heard.
        now: The monotonic clock.
        terse: Nobody reads the message of a time-out.
    """

    __slots__ = (
        "_apart",
        "_armed",
        "_began",
        "_checks",
        "_closed",
        "_deadline",
        "_probe",
        "_safety",
        "_terse",
        "_timeout",
        "_wakes",
        "_watch",
    )

    def __init__(
        self,
        condition: Condition[T],
        watch: Watch,
        *,
        timeout: float | None,
        safety: float | None,
        now: float,
        terse: bool = False,
    ) -> None:
        self._probe: Probe[T] = make_probe(condition)
        self._watch = watch
        self._timeout = timeout
        self._safety = None if safety is None else max(safety, _LEAST_SAFETY)
        self._began = now
        self._deadline = None if timeout is None else now + timeout
        self._apart = allocate_lock()  # held while a step is made in another thread
        self._closed = False
        self._armed = False
        self._terse = terse
        self._checks = 0
        self._wakes = 0

    def step(self, now: float, *, rung: bool) -> Step[T]:
        """Look, arm, and look again where that could have changed the answer.

        Args:
            now: The monotonic clock.
            rung: Whether something was heard since the last step.

        Raises:
            ConditionTimeout: If the time is over.
            WaitFailed: If the condition can be given up.
        """
        self._wakes += rung
        last = self._deadline is not None and now >= self._deadline
        look = Look(now, self._began, rung=rung, last=last)
        verdict = self._look(look)
        if isinstance(verdict, Met):
            return verdict

        more = self._more()
        if last and not (more and self._timeout == 0):
            raise self.timed_out(now)

        if rung or self._watch.polls(now):
            self._armed = False  # until all of what there is to look at was looked at
        if not more and not self._armed:
            self._armed = True
            if self._watch.renew(self._probe, now):
                look.rung = False
                verdict = self._look(look)
                if isinstance(verdict, Met):
                    return verdict
        return Rest(self._until(now))

    def _look(self, look: Look) -> Verdict[T]:
        self._checks += 1
        verdict = self._probe.look_at(look)
        if isinstance(verdict, Failed):
            raise self.failed(look.now, verdict.why)
        return verdict

    def _more(self) -> bool:
        return any(probe.more for probe in self._probe.walk())

    def _until(self, now: float) -> float | None:
        """Return when to look again though nothing is heard."""
        more = [probe.due or now for probe in self._probe.walk() if probe.more]
        if more:
            return min(more)

        times = [probe.due for probe in self._probe.walk()]
        times += [self._deadline, self._watch.due(now)]
        if self._safety is not None:
            times.append(now + self._safety)
        return min((time for time in times if time is not None), default=None)

    # -- what drivers need to know ---------------------------------------------------

    def blocks(self) -> bool:
        """Tell whether a step may block for long."""
        return any(probe.blocks for probe in self._probe.walk())

    def put_off_calls(self) -> None:
        """Have the driver call all functions: they belong into its task."""
        for probe in self._probe.walk():
            if isinstance(probe, PredicateProbe):
                probe.put_off()

    def awaited(self, now: float, *, rung: bool) -> Iterator[PredicateProbe]:
        """Give the probes whose function is to be awaited before the next step."""
        look = Look(now, self._began, rung=rung, last=self._is_over(now))
        for probe in self._probe.walk():
            if isinstance(probe, PredicateProbe) and probe.is_awaited(look):
                yield probe

    def has_async(self) -> bool:
        """Tell whether only a task can wait for this."""
        return any(
            isinstance(probe, PredicateProbe) and probe.is_async()
            for probe in self._probe.walk()
        )

    def refuse_async(self) -> None:
        """Refuse what only a task can wait for.

        Raises:
            InvalidType: If there is a function that is to be awaited.
        """
        if self.has_async():
            raise InvalidType(
                f"{self._probe.condition!r} has a coroutine function; await "
                "cup.services.autowait.aio.wait instead"
            )

    def left(self, now: float) -> float | None:
        """Return the seconds that a function may still be awaited for."""
        if self._deadline is None or self._timeout == 0:
            return None  # who looks once waits for the answer
        return max(_LAST_CALL, self._deadline - now)

    def _is_over(self, now: float) -> bool:
        return self._deadline is not None and now >= self._deadline

    # -- what is told ----------------------------------------------------------------

    def look(self, now: float) -> Report:
        """Look once, and return what was found and how it would be watched."""
        for _ in range(2):  # it learns at the first look what it can be watched by
            self._probe.look_at(Look(now, self._began, last=True))
            self._watch.renew(self._probe, now)
        return self.report()

    def report(self) -> Report:
        """Return what was found at the last look."""
        return self._probe.report(self._watch.mechanism())

    def timed_out(self, now: float) -> ConditionTimeout:
        """Return the error of a wait that took too long."""
        if self._terse:
            return ConditionTimeout(timeout=self._timeout)

        report = self.report()
        return ConditionTimeout(
            self._tell(now, "not met", report),
            timeout=self._timeout,
            seen=report.seen,
            mechanism=report.mechanism,
        )

    def failed(self, now: float, why: str) -> WaitFailed:
        """Return the error of a wait that was given up."""
        report = self.report()
        return WaitFailed(
            self._tell(now, f"given up: {why}", report),
            reason=why,
            mechanism=report.mechanism,
        )

    def _tell(self, now: float, outcome: str, report: Report) -> str:
        text = f"waited {now - self._began:.1f} s for {report.condition}: {outcome}."
        if report.parts:
            text += "\n" + "\n".join(report.lines("  ")) + "\n"
        else:
            if report.seen:
                text += f" Last seen: {report.seen}."
            if report.nearest:
                text += f" Nearest: {report.nearest}."
            text += " "
        watched = report.mechanism or "nothing: it was looked at once"
        return (
            f"{text}Watched by {watched} "
            f"({self._wakes} wake-ups, {self._checks} checks)."
        )

    def step_apart(self, now: float, *, rung: bool) -> Step[T]:
        """Make a step in a thread that nobody may wait for any more.

        If the wait ends meanwhile, what it has open is in use until the step is over.
        """
        with self._let_go_after():
            return self.step(now, rung=rung)

    def look_apart(self, now: float) -> Report:
        """Look once, in a thread that nobody may wait for any more."""
        with self._let_go_after():
            return self.look(now)

    @contextmanager
    def _let_go_after(self) -> Generator[None, None, None]:
        with self._apart:
            try:
                yield
            finally:
                if self._closed:
                    self._let_go()

    def close(self) -> None:
        """Let go of everything; may be called again."""
        self._closed = True
        if not self._apart.locked():
            self._let_go()

    def _let_go(self) -> None:
        try:
            self._probe.close()
        finally:
            self._watch.close()
