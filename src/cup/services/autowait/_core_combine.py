"""Probes of conditions that are made of others."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from typing_extensions import override

from ._core_verdicts import NOT_YET, Failed, Met, Probe
from .api import Won

if TYPE_CHECKING:
    from ._core_verdicts import Look, Verdict, Watching
    from .api import Condition, HeldFor

__all__ = ["AllProbe", "AnyProbe", "FailProbe", "HeldProbe", "NamedProbe", "NotProbe"]

T_co = TypeVar("T_co", covariant=True)


class _Over(Probe[T_co]):
    """Base of probes over others."""

    __slots__ = ("_parts",)

    def __init__(self, condition: Condition[T_co], *parts: Probe[object]) -> None:
        super().__init__(condition)
        self._parts = parts

    @override
    def parts(self) -> tuple[Probe[object], ...]:
        """Return the probes below."""
        return self._parts

    @override
    def arm(self, watching: Watching) -> None:
        """Declare what the parts depend on."""
        for part in self._parts:
            part.arm(watching)


class AllProbe(_Over[tuple[object, ...]]):
    """All parts hold in one pass."""

    __slots__ = ()

    @override
    def check(self, look: Look) -> Verdict[tuple[object, ...]]:
        """Look at all parts, so that reports know of each."""
        values: list[object] = []
        failed: Failed | None = None
        for part in self._parts:
            verdict = part.look_at(look)
            if isinstance(verdict, Met):
                values.append(verdict.value)
            elif isinstance(verdict, Failed):
                failed = failed or verdict
        if len(values) == len(self._parts):
            return Met(tuple(values))
        return failed or NOT_YET


class AnyProbe(_Over[Won[object]]):
    """The first part that holds wins."""

    __slots__ = ()

    @override
    def check(self, look: Look) -> Verdict[Won[object]]:
        """Look at the parts in their order."""
        failed: Failed | None = None
        for index, part in enumerate(self._parts):
            verdict = part.look_at(look)
            if isinstance(verdict, Met):
                return Met(Won(index, part.condition, verdict.value))
            if isinstance(verdict, Failed):
                failed = failed or verdict
        return failed or NOT_YET


class NotProbe(_Over[None]):
    """The part does not hold."""

    __slots__ = ()

    @override
    def check(self, look: Look) -> Verdict[None]:
        """Look at it, and turn the answer round."""
        part = self._parts[0]
        verdict = part.look_at(look)
        if isinstance(verdict, Failed):
            return verdict

        self.unsure = part.unsure
        return NOT_YET if isinstance(verdict, Met) or part.unsure else Met(None)

    @override
    def seen(self) -> str:
        """Say that it holds, or may do so."""
        return "it may hold" if self.unsure else "it holds"


class NamedProbe(_Over[T_co]):
    """The part, under a name."""

    __slots__ = ("_inner",)

    def __init__(self, condition: Condition[T_co], inner: Probe[T_co]) -> None:
        super().__init__(condition, inner)
        self._inner = inner

    @override
    def check(self, look: Look) -> Verdict[T_co]:
        """Look at the part."""
        return self._inner.look_at(look)


class HeldProbe(_Over[T_co]):
    """The part has held since some time."""

    __slots__ = ("_inner", "_seconds", "_since", "_span")

    def __init__(self, condition: HeldFor[T_co], inner: Probe[T_co]) -> None:
        super().__init__(condition, inner)
        self._inner = inner
        self._seconds = condition.seconds
        self._since: float | None = None
        self._span = 0.0

    @override
    def check(self, look: Look) -> Verdict[T_co]:
        """Look whether it still holds, and since when it does."""
        verdict = self._inner.look_at(look)
        self.due = None
        if not isinstance(verdict, Met):
            self._since = None
            return verdict

        if self._since is None:
            self._since = look.now
        self._span = look.now - self._since
        if self._span >= self._seconds:
            return verdict
        self.due = self._since + self._seconds
        return NOT_YET

    @override
    def seen(self) -> str:
        """Say for how long it has held."""
        return "" if self._since is None else f"held for {self._span:.1f} s so far"


class FailProbe(_Over[T_co]):
    """The first part holds; if the second does, the wait has failed."""

    __slots__ = ("_failure", "_inner")

    def __init__(
        self, condition: Condition[T_co], inner: Probe[T_co], failure: Probe[object]
    ) -> None:
        super().__init__(condition, inner, failure)
        self._inner = inner
        self._failure = failure

    @override
    def check(self, look: Look) -> Verdict[T_co]:
        """Look at what is wanted, then at what is feared."""
        verdict = self._inner.look_at(look)
        if not isinstance(verdict, Met):
            failure = self._failure.look_at(look)
            if isinstance(failure, Met):
                return Failed(f"{self._failure.condition} came to hold")
            if isinstance(failure, Failed):
                return failure
        return verdict
