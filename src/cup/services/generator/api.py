"""What a generator offers, in both colours, and the values it answers with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

__all__ = ["AsyncGeneratorManAPI", "GeneratorManAPI", "GeneratorStats"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorStats:
    """What a generator has given out in this process.

    Attributes:
        prefix: What its names begin with.
        pid: The process.
        names: How many names it gave out here.
        next_number: The number that comes next here.
    """

    prefix: str
    pid: int
    names: int
    next_number: int


class _Generates(Protocol):
    """The calls that both colours have; none of them waits."""

    def get_uniqname(self) -> str:
        """Return a name that nobody else gets."""
        ...

    def get_next_uniq_num(self) -> int:
        """Return the next number of this process."""
        ...

    def get_next_uniqhex(self) -> str:
        """Return the next number of this process as hexadecimal text."""
        ...

    def reset_uniqid_start(self, num: int = 0) -> None:
        """Begin the numbers of this process anew."""
        ...

    def get_random_str(self, length: int) -> str:
        """Return random lower-case letters."""
        ...

    def get_uuid(self) -> str:
        """Return a random UUID as 32 hexadecimal digits."""
        ...

    def stats(self) -> GeneratorStats:
        """Return what was given out in this process."""
        ...


class GeneratorManAPI(_Generates, Protocol):
    """A generator, seen from threads."""

    @property
    def aio(self) -> AsyncGeneratorManAPI:
        """The same generator, seen from an event loop."""
        ...


class AsyncGeneratorManAPI(_Generates, Protocol):
    """A generator, seen from an event loop."""

    @property
    def sync(self) -> GeneratorManAPI:
        """The same generator, seen from threads."""
        ...
