"""Random strings, from the system's randomness by way of `secrets`.

Letters are drawn by rejection: a byte that would make some letters likelier than others
is thrown away.
"""

from __future__ import annotations

import math
import secrets
from typing import Final

from cup._core import fork
from cup._core.fork import generation
from cup.errors import InvalidId, InvalidValue

from ._core_ids import Ids, check_int, expect
from .api import ParsedID

__all__ = ["URL_SAFE", "RandomCore"]

URL_SAFE: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
"""The 64 letters that need no quoting in an address: 6 bits each."""

_MOST: Final = 65_536
_BYTES: Final = 256
_AT_ONCE: Final = 4096  # letters that are drawn together


class RandomCore(Ids[str]):
    """What generators of random strings do; all of it at once."""

    __slots__ = ("_fair", "_known", "_length", "_letters", "_pool", "_to_letter")

    kind = "random"

    def __init__(self, length: int, alphabet: str) -> None:
        self._length: int = check_int("length", length, 1, _MOST)
        expect(alphabet, str, "is no alphabet: give a text")
        if not 1 < len(alphabet) <= _BYTES or len(set(alphabet)) != len(alphabet):
            raise InvalidValue(
                f"alphabet is {alphabet!r}; give 2 to {_BYTES} letters, each once"
            )
        self._letters: str = alphabet
        self._known: frozenset[str] = frozenset(alphabet)
        fair = _BYTES // len(alphabet) * len(alphabet)
        self._fair: bytes = bytes(range(fair, _BYTES))
        self._to_letter: dict[int, str] = {
            byte: alphabet[byte % len(alphabet)] for byte in range(fair)
        }
        self._pool: tuple[int, list[str]] = (generation(), [])

    @property
    def bits(self) -> float:
        """How hard a string is to guess: the binary logarithm of their number."""
        return self._length * math.log2(len(self._letters))

    def next_id(self) -> str:
        """Return an identifier that nobody else gets."""
        epoch, pool = self._pool
        if fork.stamp[0] and epoch == fork.epoch:
            try:
                return pool.pop()
            except IndexError:
                pass
        # Made by this process alone, and put in place at once.
        pool = self._make(max(1, _AT_ONCE // self._length))
        made = pool.pop()
        self._pool = (generation(), pool)
        return made

    def attempt(self) -> str:
        """Return a random string."""
        return self.next_id()

    def attempt_some(self, n: int) -> list[str]:
        """Return some random strings."""
        return self._make(min(n, max(1, 16 * _AT_ONCE // self._length)))

    def _make(self, n: int) -> list[str]:
        length = self._length
        letters = b""
        while len(letters) < n * length:
            more = secrets.token_bytes(n * length - len(letters) + 8)
            letters += more.translate(None, self._fair)
        text = letters.decode("latin-1").translate(self._to_letter)
        return [text[k : k + length] for k in range(0, n * length, length)]

    def parse(self, value: str) -> ParsedID:
        """Say what an identifier of this kind tells about itself.

        Args:
            value: A text.

        Raises:
            InvalidId: If it has another length, or other letters.
            InvalidType: If it is no text.
        """
        expect(value, str, "is no random string: give a text")
        if len(value) != self._length or not set(value) <= self._known:
            raise InvalidId(
                f"{value[:50]!r} is none of ours: they have {self._length} letters of "
                f"{self._letters!r}"
            )
        return ParsedID(kind=self.kind, text=value)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._length} letters, {self.bits:.0f} bits>"
