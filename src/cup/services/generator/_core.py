"""Unique names and numbers without a lock: what both faces of a generator share.

A generator draws from counters that belong to one process. A forked child finds by the
fork generation that it has none yet, and begins its own, so it repeats nothing that its
parent or a sibling gives out. `next` on an `itertools.count` is atomic: all of this may
be called from threads, signal handlers and finalizers.

Not here: the faces and what is one per process (`sync`, `aio`).
"""

from __future__ import annotations

import os
import string
import uuid
import warnings
from itertools import count
from threading import get_ident
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn, TypeVar

from cup import net
from cup._core.fork import generation
from cup.errors import InvalidType, InvalidValue

from .api import GeneratorStats

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["GeneratorCore", "Source", "the_only_source", "warn_of_other_prefix"]

_FORKED: Final = 1 << 62
"""Numbers of a forked child begin above, at random; those of its first ancestor, and
what `reset_uniqid_start` takes, lie below."""

_LETTERS: Final = string.ascii_lowercase.encode()
_FAIR: Final = 256 // len(_LETTERS) * len(_LETTERS)
_TO_LETTER: Final = bytes(_LETTERS[byte % len(_LETTERS)] for byte in range(256))
_UNFAIR: Final = bytes(range(_FAIR, 256))

_G = TypeVar("_G", bound="GeneratorCore")


class _Life(NamedTuple):
    """What a generator draws from in one process."""

    stem: str
    names: count[int]
    numbers: count[int]


class Source:
    """One generator, whatever faces look at it.

    Args:
        str_prefix: What names begin with; "localhost" means the name of this host.

    Raises:
        InvalidType: If the prefix is no text.
    """

    __slots__ = ("faces", "lives", "prefix")

    def __init__(self, str_prefix: str) -> None:
        self.prefix: str = checked_prefix(str_prefix)
        self.lives: dict[int, _Life] = {}
        """By fork generation; those of the ancestors stay, and are never drawn from."""
        self.faces: dict[type[GeneratorCore], GeneratorCore] = {}
        self.begin_life(0)

    def begin_life(self, first: int | None = None) -> _Life:
        """Make what this process draws from; threads that race here agree on one."""
        if first is None:
            first = _FORKED + (int.from_bytes(os.urandom(8), "big") >> 3)
        # The token tells this process from earlier ones that had its pid.
        stem = f"{self.prefix}_{os.getpid()}_{os.urandom(8).hex()}_"
        fresh = _Life(stem, count(), count(first))
        return self.lives.setdefault(generation(), fresh)

    def face(self, kind: type[_G]) -> _G:
        """Return the first face of a kind, made if there is none."""
        for face in list(self.faces.values()):
            if isinstance(face, kind):
                return face
        return self.exact_face(kind)

    def exact_face(self, kind: type[_G]) -> _G:
        """Return the face of exactly this class, made if there is none."""
        face = self.faces.get(kind)
        if face is None:
            face = self.faces.setdefault(kind, kind.over(self))
        assert isinstance(face, kind)
        return face


class GeneratorCore:
    """The calls of both faces; none of them waits."""

    __slots__ = ("__weakref__", "_lives", "_source")

    _source: Source
    _lives: dict[int, _Life]

    @classmethod
    def over(cls, source: Source) -> Self:
        """Return a face of a source."""
        face = object.__new__(cls)
        face._look_at(source)
        return face

    def _look_at(self, source: Source) -> None:
        self._source = source
        self._lives = source.lives

    def get_uniqname(self) -> str:
        """Return a name that no thread, process or later start of a program gets.

        It is `prefix_pid_token_counter_thd_thread`: the token is random, one for each
        process; the counter is one for each process and is never reset; the thread is
        `threading.get_ident()`. The last five `_` separate the fields, whatever the
        prefix contains.
        """
        try:
            life = self._lives[generation()]
        except KeyError:
            life = self._source.begin_life()
        return f"{life.stem}{next(life.names)}_thd_{get_ident()}"

    def get_next_uniq_num(self) -> int:
        """Return the next number of this process: 0, 1, 2 and so on.

        In a forked child the numbers begin anew, at random between 2**62 and 2**63, and
        go up from there: a thousand children that draw a million numbers each meet
        with a chance of 4 in ten million. For what has to be unique beyond that, or
        beyond the life of the program, take `get_uniqname` or `get_uuid`.
        """
        try:
            return next(self._lives[generation()].numbers)
        except KeyError:
            return next(self._source.begin_life().numbers)

    def get_next_uniqhex(self) -> str:
        """Return the next number of this process as text, such as `0x1f`."""
        return hex(self.get_next_uniq_num())

    def reset_uniqid_start(self, num: int = 0) -> None:
        """Begin the numbers of this process anew; names stay unique all the same.

        Args:
            num: The number that comes next, below 2**62.

        Raises:
            InvalidType: If it is no integer.
            InvalidValue: If it is negative or too large.
        """
        _expect_int("num", num)
        if not 0 <= num < _FORKED:
            raise InvalidValue(f"num is {num}; give one from 0 to 2**62 - 1")

        life = self._lives.get(generation()) or self._source.begin_life()
        self._lives[generation()] = life._replace(numbers=count(num))

    def get_random_str(self, length: int) -> str:
        """Return random lower-case letters, from the randomness of the system.

        A letter is worth 4.7 bits: 28 letters are as hard to guess as a 128-bit key.

        Raises:
            InvalidType: If the length is no integer.
            InvalidValue: If it is negative.
        """
        _expect_int("length", length)
        if length < 0:
            raise InvalidValue(f"length is {length}; give 0 or more")

        letters = b""
        while len(letters) < length:
            more = os.urandom(length - len(letters) + 8)
            letters += more.translate(_TO_LETTER, _UNFAIR)
        return letters[:length].decode("ascii")

    def get_uuid(self) -> str:
        """Return a random UUID (version 4) as 32 hexadecimal digits."""
        return uuid.uuid4().hex

    def stats(self) -> GeneratorStats:
        """Return what this generator has given out in this process."""
        life = self._lives.get(generation()) or self._source.begin_life()
        return GeneratorStats(
            prefix=self._source.prefix,
            pid=os.getpid(),
            names=_peek(life.names),
            next_number=_peek(life.numbers),
        )

    def __repr__(self) -> str:
        now = self.stats()
        return (
            f"<{type(self).__name__} {now.prefix!r} pid {now.pid}, {now.names} names, "
            f"next number {now.next_number}>"
        )

    def __reduce__(self) -> NoReturn:
        raise InvalidType(
            f"a {type(self).__name__} cannot be pickled or copied: each process draws "
            "from its own; make one there"
        )


_only: dict[str, Source] = {}


def the_only_source(str_prefix: str) -> Source:
    """Return the source of this process, made with the prefix at the first call."""
    source = _only.get("source")
    if source is None:
        source = _only.setdefault("source", Source(str_prefix))
    return source


def warn_of_other_prefix(face: GeneratorCore, str_prefix: str) -> None:
    """Warn the caller of a class that it cannot have another prefix."""
    there = face.stats().prefix
    if str_prefix != "localhost" and checked_prefix(str_prefix) != there:
        kind = type(face).__name__
        warnings.warn(
            f"{kind}({str_prefix!r}): the generator of this process has the prefix "
            f"{there!r} already, which stays; take a {kind}Base for another",
            RuntimeWarning,
            stacklevel=3,
        )


def checked_prefix(str_prefix: object) -> str:
    """Return what names begin with.

    Raises:
        InvalidType: If the prefix is no text.
    """
    if not isinstance(str_prefix, str):
        raise InvalidType(f"str_prefix is {str_prefix!r}; give a text")
    return net.get_local_hostname() if str_prefix == "localhost" else str_prefix


def _peek(counter: count[int]) -> int:
    """Return what comes next: a count tells it by its repr alone, "count(5)"."""
    return int(repr(counter)[6:-1])


def _expect_int(what: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidType(f"{what} is {value!r}; give an integer")
