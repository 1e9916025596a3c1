"""Delivering to all destinations: who is when, what is tried again, and how to stop.

Every attempt is a job of an `ExecutionService`: as many run as it has workers, and
`after` brings a failed one back later. The main thread watches: it is told of each end
through a queue, stops what takes too long, and shows how far things are.

Not here: an attempt (`_fanout_send`).
"""

from __future__ import annotations

import queue
import random
import signal
import threading
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Final

from cup.errors import LogError
from cup.services.executor import ExecutionService

from ._fanout_outcome import Outcome, Retry, State
from ._fanout_send import Answer, Courier, missing_tool

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType, TracebackType

    from typing_extensions import Self

    from cup.services.executor import ScheduledJob

    from ._fanout_journal import Journal
    from ._fanout_places import Place
    from ._fanout_send import Cargo
    from ._fanout_show import Show

__all__ = ["Fanout", "Interrupts", "Plan"]

_TICK: Final = 0.1  # seconds
_GRACE: Final = 5.0  # seconds that a stopped attempt has to tidy up
_LONGEST_DELAY: Final = 300.0
_SPREAD: Final = 0.5  # a delay is up to so much longer or shorter
_INTERRUPTED: Final = "interrupted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to deliver.

    Attributes:
        jobs: How many destinations at the same time.
        retries: How often to try again.
        backoff: Seconds before the second attempt; twice as many before each further.
    """

    jobs: int
    retries: int
    backoff: float


class Interrupts:
    """Counts Ctrl-C, and what else ends a program politely, instead of being ended.

    Signals that were ignored before stay ignored. Elsewhere than in the main thread it
    does nothing.
    """

    def __init__(self) -> None:
        self.count: int = 0
        self._before: list[tuple[int, object]] = []

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            names = ["SIGINT", "SIGTERM", "SIGHUP"]
            numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
            for number in numbers:
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._before.append((number, signal.signal(number, self._take)))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before:
            if handler is None or isinstance(handler, int) or callable(handler):
                signal.signal(number, handler)

    def _take(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1


class _Task:
    """A destination, and its attempts so far."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.attempts: int = 0
        self.began: float = 0.0
        self.job: ScheduledJob[None] | None = None
        self.courier: Courier | None = None

    def outcome(self, state: State, reason: str = "") -> Outcome:
        """Say how it ended."""
        return Outcome(
            place=self.place,
            state=state,
            attempts=self.attempts,
            seconds=monotonic() - self.began if self.began else 0.0,
            reason=reason,
        )


class Fanout:
    """Delivers an archive to many destinations.

    Args:
        cargo: What to deliver.
        plan: How.
        journal: Where to take down what is delivered; None for nowhere.
        show: What shows how far it is; called by the thread that calls `run`.
    """

    def __init__(
        self, cargo: Cargo, plan: Plan, journal: Journal | None, show: Show
    ) -> None:
        self._cargo = cargo
        self._plan = plan
        self._journal = journal
        self._show = show
        self._lock = threading.Lock()
        self._stopping: bool = False
        self._tasks: list[_Task] = []
        self._news: queue.SimpleQueue[Outcome | Retry] = queue.SimpleQueue()
        # Attempts, first and further ones, are delayed jobs: so one limit is for all.
        self._service = ExecutionService(plan.jobs, 1, "fanout")

    def run(self, places: Sequence[Place], interrupts: Interrupts) -> list[Outcome]:
        """Deliver to all of them, or until it is interrupted; blocks.

        Args:
            places: The destinations.
            interrupts: Tells when to stop; the second time at once.

        Returns:
            What became of each, in the order of their ends.
        """
        outcomes: list[Outcome] = []
        with self._service:
            self._tasks = [_Task(place) for place in places]
            for task in self._tasks:
                with self._lock:
                    task.job = self._service.after(0, self._attempt, task)
            while len(outcomes) < len(places):
                self._watch(interrupts)
                try:
                    news = self._news.get(timeout=_TICK)
                except queue.Empty:
                    continue

                if isinstance(news, Outcome):
                    outcomes.append(news)
                    self._show.ended(news, len(outcomes))
                else:
                    self._show.retry(news)
        return outcomes

    # -- the main thread ---------------------------------------------------------------

    def _watch(self, interrupts: Interrupts) -> None:
        """Stop what is to be stopped, and show the rest."""
        if interrupts.count and not self._stopping:
            self._stop()
        now = monotonic()
        couriers = [task.courier for task in self._tasks if task.courier is not None]
        for courier in couriers:
            if courier.stopped_at is None:
                if now >= courier.deadline:
                    limit = self._cargo.timeout
                    courier.stop(f"it was not done within {limit:g} s (--timeout)")
            elif interrupts.count > 1 or now >= courier.stopped_at + _GRACE:
                courier.stop(_INTERRUPTED, hard=True)
        self._show.look(couriers)

    def _stop(self) -> None:
        """Start nothing any more, and end what has started."""
        with self._lock:
            self._stopping = True
        for task in self._tasks:
            if task.job is not None and task.job.cancel():
                self._news.put(task.outcome(State.INTERRUPTED, _INTERRUPTED))
            courier = task.courier
            if courier is not None:
                courier.stop(_INTERRUPTED)

    # -- workers -----------------------------------------------------------------------

    def _attempt(self, task: _Task) -> None:
        courier = Courier(task.place, self._cargo)
        with self._lock:
            task.began = task.began or monotonic()
            if self._stopping:
                self._news.put(task.outcome(State.INTERRUPTED, _INTERRUPTED))
                return

            task.attempts += 1
            task.courier = courier
        try:
            answer = self._run(courier)
        finally:
            task.courier = None
        self._news.put(self._judge(task, answer))

    def _run(self, courier: Courier) -> Answer:
        missing = missing_tool(courier.place, self._cargo.ssh)
        if missing:
            return Answer(delivered=False, reason=missing, final=True)
        try:
            return courier.run()
        except Exception as error:  # noqa: BLE001 - harms no other destination
            return Answer(delivered=False, reason=f"{type(error).__name__}: {error}")

    def _judge(self, task: _Task, answer: Answer) -> Outcome | Retry:
        """Say what follows from an attempt, and plan the next one."""
        if answer.delivered:
            return task.outcome(State.DELIVERED, self._note(task.place))

        with self._lock:
            if self._stopping:
                return task.outcome(State.INTERRUPTED, answer.reason)

            if answer.final or task.attempts > self._plan.retries:
                state = State.REFUSED if answer.refused else State.FAILED
                return task.outcome(state, answer.reason)

            delay = self._delay(task.attempts)
            task.job = self._service.after(delay, self._attempt, task)
            return Retry(
                place=task.place,
                attempt=task.attempts + 1,
                delay=delay,
                reason=answer.reason,
            )

    def _delay(self, attempts: int) -> float:
        """Return how long to wait: longer each time, and not all for the same time."""
        delay = min(self._plan.backoff * 2.0 ** min(attempts - 1, 32), _LONGEST_DELAY)
        return delay * random.uniform(1 - _SPREAD, 1 + _SPREAD)  # noqa: S311 - no secret

    def _note(self, place: Place) -> str:
        """Take down what was delivered; return what went wrong with that."""
        if self._journal is None:
            return ""
        try:
            self._journal.note(place, self._cargo.pack.content)
        except LogError as error:
            return f"delivered, but the journal does not say so: {error}"
        return ""
