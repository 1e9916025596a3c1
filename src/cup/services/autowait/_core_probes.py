"""Making the probe of a condition."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from cup.errors import InvalidType

from . import _core_combine as combine
from ._core_files import CompleteProbe, ExistsProbe, GoneProbe
from ._core_port import PortProbe, UnixProbe
from ._core_predicate import PredicateProbe
from ._core_process import ProcessProbe
from ._core_regex import RegexProbe
from .api import AllOf, AnyOf, Condition, FailIf, HeldFor, Named, Not
from .conditions import (
    PortFree,
    PortOpen,
    Predicate,
    ProcessGone,
    ProcessRunning,
    UnixSocket,
)
from .files import FileComplete, FileExists, FileGone, RegexInFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._core_verdicts import Probe

__all__ = ["make_probe"]

T = TypeVar("T")


def make_probe(condition: Condition[T]) -> Probe[T]:
    """Return a new probe of a condition.

    Raises:
        InvalidType: If it is no condition, or of a class that nobody knows.
    """
    # A table by class cannot say that the probe is of the condition's own type.
    return cast("Probe[T]", _make(condition))


def _make(condition: Condition[object]) -> Probe[object]:
    make = _PROBES.get(type(condition))
    if make is not None:
        return make(condition, *map(_make, condition.parts()))

    if _is_condition(condition):
        raise InvalidType(f"{condition!r}: the classes of conditions are those of cup")
    raise InvalidType(
        f"{condition!r} is no condition; wrap a function into Predicate(...)"
    )


def _is_condition(thing: object) -> bool:
    return isinstance(thing, Condition)


_PROBES: dict[type[object], Callable[..., Probe[object]]] = {
    FileExists: ExistsProbe,
    FileGone: GoneProbe,
    FileComplete: CompleteProbe,
    RegexInFile: RegexProbe,
    ProcessRunning: ProcessProbe,
    ProcessGone: ProcessProbe,
    PortOpen: PortProbe,
    PortFree: PortProbe,
    UnixSocket: UnixProbe,
    Predicate: PredicateProbe,
    AllOf: combine.AllProbe,
    AnyOf: combine.AnyProbe,
    Not: combine.NotProbe,
    HeldFor: combine.HeldProbe,
    Named: combine.NamedProbe,
    FailIf: combine.FailProbe,
}
