"""Conditions as values: what can be waited for, how it combines, what comes of it.

A condition is frozen, hashable and reusable; it holds no descriptor and does nothing by
itself. Not here: the conditions themselves (`conditions`), and waiting (`sync`, `aio`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar, overload

from typing_extensions import override

from cup._core.clock import check_timeout
from cup.errors import InvalidType, InvalidValue

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "AllOf",
    "AnyOf",
    "Condition",
    "FailIf",
    "HeldFor",
    "Named",
    "Not",
    "Report",
    "StateCondition",
    "Won",
    "all_of",
    "any_of",
    "not_",
]

T = TypeVar("T")
U = TypeVar("U")
T_co = TypeVar("T_co", covariant=True)
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")


class Condition(Generic[T_co]):
    """Something that can be waited for; `T_co` is what `wait` returns once it holds."""

    __slots__ = ()

    def __and__(self, other: Condition[U], /) -> AllOf[tuple[T_co, U]]:
        """Return the condition that both hold at the same time."""
        return AllOf((_checked(self), _checked(other)))

    def __or__(self, other: Condition[U], /) -> AnyOf[T_co | U]:
        """Return the condition that one of the two holds."""
        return AnyOf((_checked(self), _checked(other)))

    def held_for(self, seconds: float, /) -> HeldFor[T_co]:
        """Return the condition that this one holds for so many seconds on end.

        An interruption that is over before anybody could look is not noticed.

        Raises:
            InvalidValue: If `seconds` is no finite number of 0 or more.
        """
        span = check_timeout(seconds, "seconds")
        if span is None:
            raise InvalidValue(f"seconds={seconds}: nothing holds for ever")
        return HeldFor(self, span)

    def fail_if(self, other: Condition[object], /) -> FailIf[T_co]:
        """Return this condition, given up with `WaitFailed` as soon as `other` holds.

        Where both come to hold at once, the wait has succeeded.
        """
        return FailIf(self, _checked(other))

    def named(self, text: str, /) -> Named[T_co]:
        """Return this condition under a name of its own, for messages."""
        return Named(self, text)

    def parts(self) -> Sequence[Condition[object]]:
        """Return the conditions that this one is made of."""
        return ()


class StateCondition(Condition[T_co]):
    """A condition that holds or does not at any one moment, so it can be negated."""

    __slots__ = ()

    def __invert__(self) -> Not:
        """Return the condition that this one does not hold."""
        return Not(self)


def _is_a(thing: object, kind: type[object]) -> bool:
    return isinstance(thing, kind)


def _checked(condition: Condition[T]) -> Condition[T]:
    if not _is_a(condition, Condition):
        raise InvalidType(
            f"{condition!r} is no condition; wrap a function into Predicate(...)"
        )
    return condition


@dataclass(frozen=True, slots=True)
class Won(Generic[T_co]):
    """Which of several conditions came to hold.

    Attributes:
        index: Its place among them.
        condition: The condition itself.
        value: What it gave.
    """

    index: int
    condition: Condition[T_co]
    value: T_co


@dataclass(frozen=True, slots=True)
class AllOf(Condition[T_co]):
    """All conditions hold at the same time: `all_of`."""

    conditions: tuple[Condition[object], ...]

    @override
    def parts(self) -> Sequence[Condition[object]]:
        """Return the conditions."""
        return self.conditions

    def __str__(self) -> str:
        return f"all of {len(self.conditions)} conditions"


@dataclass(frozen=True, slots=True)
class AnyOf(Condition[Won[T_co]]):
    """One of the conditions holds: `any_of`."""

    conditions: tuple[Condition[T_co], ...]

    @override
    def parts(self) -> Sequence[Condition[object]]:
        """Return the conditions."""
        return self.conditions

    def __str__(self) -> str:
        return f"any of {len(self.conditions)} conditions"


@dataclass(frozen=True, slots=True)
class Not(StateCondition[None]):
    """A condition does not hold: `not_`."""

    condition: StateCondition[object]

    @override
    def parts(self) -> Sequence[Condition[object]]:
        """Return the condition."""
        return (self.condition,)

    def __str__(self) -> str:
        return "not"


@dataclass(frozen=True, slots=True)
class HeldFor(Condition[T_co]):
    """A condition holds for some time on end: `Condition.held_for`."""

    condition: Condition[T_co]
    seconds: float

    @override
    def parts(self) -> Sequence[Condition[object]]:
        """Return the condition."""
        return (self.condition,)

    def __str__(self) -> str:
        return f"held for {self.seconds:g} s"


@dataclass(frozen=True, slots=True)
class FailIf(Condition[T_co]):
    """A condition that is given up when another holds: `Condition.fail_if`."""

    condition: Condition[T_co]
    failure: Condition[object]

    @override
    def parts(self) -> Sequence[Condition[object]]:
        """Return the condition, and the one that ends the wait."""
        return (self.condition, self.failure)

    def __str__(self) -> str:
        return "the first, failing on the second"


@dataclass(frozen=True, slots=True)
class Named(Condition[T_co]):
    """A condition with a name for messages: `Condition.named`."""

    condition: Condition[T_co]
    name: str

    @override
    def parts(self) -> Sequence[Condition[object]]:
        """Return the condition."""
        return (self.condition,)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one look at a condition found.

    Attributes:
        condition: The condition, in words.
        met: Whether it held.
        seen: What was seen; empty where the parts say it.
        nearest: What came nearest to it, where something did.
        mechanism: How its changes are noticed: "inotify", "pidfd", "poll: ..." with
            the reason. Given for the whole only.
        parts: The same for what it is made of.
    """

    condition: str
    met: bool
    seen: str = ""
    nearest: str = ""
    mechanism: str = ""
    parts: tuple[Report, ...] = field(default=())

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self, indent: str = "") -> list[str]:
        """Return the report as lines of text, parts indented."""
        text = f"{indent}{'✓' if self.met else '✗'} {self.condition}"
        if self.seen:
            text += f": {self.seen}"
        if self.nearest:
            text += f" (nearest: {self.nearest})"
        below = [line for part in self.parts for line in part.lines(indent + "  ")]
        return [text, *below]


@overload
def all_of(a: Condition[A], /) -> AllOf[tuple[A]]: ...
@overload
def all_of(a: Condition[A], b: Condition[B], /) -> AllOf[tuple[A, B]]: ...
@overload
def all_of(
    a: Condition[A], b: Condition[B], c: Condition[C], /
) -> AllOf[tuple[A, B, C]]: ...
@overload
def all_of(
    a: Condition[A], b: Condition[B], c: Condition[C], d: Condition[D], /
) -> AllOf[tuple[A, B, C, D]]: ...
@overload
def all_of(*conditions: Condition[T]) -> AllOf[tuple[T, ...]]: ...


def all_of(*conditions: Condition[object]) -> AllOf[tuple[object, ...]]:
    """Return the condition that all of these hold at the same time.

    What happened once stays (a line that was found, an event); what can change back is
    looked at again, all of it in one pass. The value is the tuple of their values.

    Raises:
        InvalidValue: If there are none.
    """
    return AllOf(_several(conditions, "all_of"))


@overload
def any_of(a: Condition[A], /) -> AnyOf[A]: ...
@overload
def any_of(a: Condition[A], b: Condition[B], /) -> AnyOf[A | B]: ...
@overload
def any_of(
    a: Condition[A], b: Condition[B], c: Condition[C], /
) -> AnyOf[A | B | C]: ...
@overload
def any_of(
    a: Condition[A], b: Condition[B], c: Condition[C], d: Condition[D], /
) -> AnyOf[A | B | C | D]: ...
@overload
def any_of(*conditions: Condition[T]) -> AnyOf[T]: ...


def any_of(*conditions: Condition[object]) -> AnyOf[object]:
    """Return the condition that one of these holds; the first of them wins.

    Raises:
        InvalidValue: If there are none.
    """
    return AnyOf(_several(conditions, "any_of"))


def not_(condition: StateCondition[object], /) -> Not:
    """Return the condition that this one does not hold; also written `~condition`.

    Raises:
        InvalidType: If it has no meaning: a line that was not found may come.
    """
    if not _is_a(condition, StateCondition):
        raise InvalidType(
            f"{condition!r} cannot be negated: only what is a state at any one moment "
            "can, such as FileExists or PortOpen"
        )
    return Not(condition)


def _several(
    conditions: tuple[Condition[T], ...], name: str
) -> tuple[Condition[T], ...]:
    if not conditions:
        raise InvalidValue(f"{name}() of nothing; give at least one condition")
    return tuple(map(_checked, conditions))
