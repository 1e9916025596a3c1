"""What all generators have in threads: drawing, waiting for the clock, iteration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from cup._core.pause import pause

from ._core_ids import Ids, NotYet, check_count

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["SyncIds"]

T = TypeVar("T")


class SyncIds(Ids[T], Generic[T]):
    """Draws from a core on the calling thread."""

    __slots__ = ()

    def next_id(self) -> T:
        """Return an identifier that nobody else gets.

        Raises:
            ClockBehind: If the clock policy forbids it; other errors, if the kind says
                so.
        """
        waited = 0.0
        while True:
            try:
                return self.attempt()
            except NotYet as late:
                waited = late.add_to(waited)
                self._wait(late)

    def next_ids(self, n: int) -> list[T]:
        """Return `n` identifiers, in order where the kind promises one.

        Args:
            n: How many; a thousand cost a fraction of a thousand calls.

        Raises:
            InvalidType: If it is no integer.
            InvalidValue: If it is negative.
        """
        made: list[T] = []
        missing = check_count(n)
        waited = 0.0
        while missing:
            try:
                made += self.attempt_some(missing)
                waited = 0.0
            except NotYet as late:
                waited = late.add_to(waited)
                self._wait(late)
            missing = n - len(made)
        return made

    def _wait(self, late: NotYet) -> None:
        name = type(self).__name__
        pause(late.seconds, f"{name}.next_id", f"Async{name}.next_id")

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        return self.next_id()
