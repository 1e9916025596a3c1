"""How far a fan-out is: bars with rich on a terminal, else lines now and then.

It goes to stderr: the summary goes to stdout. When nobody reads stderr any more, the
delivery goes on in silence.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol

from typing_extensions import ParamSpec

from ._fanout_outcome import State, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from ._fanout_outcome import Outcome, Retry
    from ._fanout_send import Courier

__all__ = ["Careful", "Lines", "Show", "ended_line", "make_show", "retry_line"]

P = ParamSpec("P")

_EVERY: Final = 3.0  # seconds
_SHOWN: Final = 4  # destinations in one line


class Show(Protocol):
    """Shows a fan-out, for the length of a block."""

    def ended(self, outcome: Outcome, done: int, /) -> None:
        """Show what became of a destination, and how many have ended."""
        ...

    def retry(self, retry: Retry, /) -> None:
        """Show that an attempt has failed."""
        ...

    def look(self, couriers: Sequence[Courier], /) -> None:
        """Show how far the attempts are that run."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class Lines:
    """Prints a line for each end, and every three seconds how far the others are."""

    def __init__(self, total: int, every: float = _EVERY) -> None:
        self._total = total
        self._done = 0
        self._every = every
        self._due = monotonic() + every

    def ended(self, outcome: Outcome, done: int, /) -> None:
        """Show what became of a destination, and how many have ended."""
        self._done = done
        self._say(f"[{done}/{self._total}] {ended_line(outcome)}")

    def retry(self, retry: Retry, /) -> None:
        """Show that an attempt has failed."""
        self._say(retry_line(retry))

    def look(self, couriers: Sequence[Courier], /) -> None:
        """Show how far the attempts are that run."""
        if monotonic() < self._due or not couriers:
            return

        self._due = monotonic() + self._every
        parts = [f"{printable(one.place.text)} {share(one)}" for one in couriers]
        more = f", and {len(parts) - _SHOWN} more" if len(parts) > _SHOWN else ""
        shown = ", ".join(parts[:_SHOWN])
        self._say(f"[{self._done}/{self._total}] under way: {shown}{more}")

    def _say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass


class Careful:
    """Shows things by another show, as long as somebody can see them.

    Args:
        show: What shows them.
    """

    def __init__(self, show: Show) -> None:
        self._show = show
        self._is_seen = True

    def ended(self, outcome: Outcome, done: int, /) -> None:
        """Show what became of a destination, and how many have ended."""
        self._try(self._show.ended, outcome, done)

    def retry(self, retry: Retry, /) -> None:
        """Show that an attempt has failed."""
        self._try(self._show.retry, retry)

    def look(self, couriers: Sequence[Courier], /) -> None:
        """Show how far the attempts are that run."""
        self._try(self._show.look, couriers)

    def _try(
        self, show: Callable[P, object], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        if self._is_seen:
            try:
                show(*args, **kwargs)
            except OSError:  # a pipe that nobody reads, a terminal that is gone
                self._is_seen = False

    def __enter__(self) -> Self:
        self._try(self._show.__enter__)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._try(self._show.__exit__, kind, error, traceback)


def make_show(total: int) -> Show:
    """Choose how to show it.

    Args:
        total: How many destinations there are.
    """
    if sys.stderr.isatty() and find_spec("rich") is not None:
        from ._fanout_show_rich import Bars  # noqa: PLC0415 - needs the extra

        return Careful(Bars(total))

    return Careful(Lines(total))


def share(courier: Courier) -> str:
    """Say how far an attempt is."""
    if courier.is_sent:
        return "checking"
    return f"{100 * courier.sent // max(1, courier.size)} %"


def ended_line(outcome: Outcome) -> str:
    """Say what became of a destination."""
    where = printable(outcome.place.text)
    why = f": {printable(outcome.reason)}" if outcome.reason else ""
    seconds = f" in {outcome.seconds:.1f} s" if outcome.state is State.DELIVERED else ""
    return f"{outcome.state.value} {where}{seconds}{why}"


def retry_line(retry: Retry) -> str:
    """Say that an attempt has failed, and when the next one is."""
    where, why = printable(retry.place.text), printable(retry.reason)
    return f"{where}: {why}; attempt {retry.attempt} in {retry.delay:.1f} s"


if TYPE_CHECKING:
    _lines: Show = Lines(0)
    _careful: Show = Careful(_lines)
