"""Cycle ids: 32 bits of address, 16 of port, 80 of a counter that goes round.

The counter begins at the time in milliseconds, 41 bits, before 39 random bits. No
process meets what the same address and port gave out in an earlier life: that would
have to issue 500 ids in each nanosecond; where the clock stands still between the two,
chance alone keeps a million ids apart, 250,000 to 1. Forked children share the counter.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import time
from typing import TYPE_CHECKING, Final

from cup._core import fork
from cup._core.fork import stamp
from cup.errors import InvalidId, InvalidValue

from ._core_ids import check_int, expect, number_in
from ._core_ledger import shared_ledger
from ._core_runs import Chain, Run
from .api import IDStats, ParsedID

if TYPE_CHECKING:
    from ._core_ledger import Ledger

__all__ = ["CycleCore", "hash_of_ipv6", "number_of_ipv4"]

_COUNTER_BITS: Final = 80
_ROUND: Final = 1 << _COUNTER_BITS
_BITS: Final = 128
_DIGITS: Final = 32
_STRETCH: Final = 65_536
_MOST_STRETCHES: Final = _ROUND // _STRETCH


class CycleCore(Chain[int]):
    """What generators of cycle ids do; all of it at once."""

    __slots__ = ("_life", "_prefix")

    kind = "cycle"

    def __init__(self, address: int, port: int) -> None:
        port = check_int("port", port, 0, 65535)
        self._prefix: int = (address << 16 | port) << _COUNTER_BITS
        self._life: tuple[int, Ledger] = (_now(), shared_ledger())
        self._begin()

    def _follow(self, run: Run | None) -> Run:
        if run is not None and run.tick and self._is_mine(run):
            return Run(run.tick, _STRETCH, first=self._prefix - run.tick)

        base, ledger = self._life
        stretch = ledger.take()
        assert stretch is not None, "there is no limit"
        start = (base + stretch % _MOST_STRETCHES * _STRETCH) % _ROUND
        if start + _STRETCH <= _ROUND:
            return Run(0, _STRETCH, first=self._prefix + start)

        # It goes round inside: `tick` says where the rest of the stretch begins.
        edge = _ROUND - start
        return Run(0, edge, first=self._prefix + start, tick=edge)

    def next_id(self) -> int:
        """Return the next id, below 2**128."""
        run = self._run
        # A call less than `_draw`: these runs get a successor once they are used up.
        if stamp[0] and run.epoch == fork.epoch:
            number = next(run.numbers)
            if number < run.end:
                return run.first + number

        return self._draw()

    def attempt(self) -> int:
        """Return the next id, below 2**128."""
        return self._draw()

    def attempt_some(self, n: int) -> list[int]:
        """Return some of the next ids."""
        return self._draw_some(n)

    def reset_nextid(self, nextid: int) -> bool:
        """Say which id comes next here, and in processes forked from now on.

        Args:
            nextid: The counter's part, or a whole id of this address and port.

        Returns:
            False, and nothing is changed, if it is neither.

        Raises:
            InvalidType: If it is no integer.
        """
        expect(nextid, int, "is no id: give an integer")
        counter = nextid - self._prefix if nextid >= _ROUND else nextid
        if not 0 <= counter < _ROUND:
            return False

        self._life = (counter, shared_ledger())
        self._begin_anew()
        return True

    @staticmethod
    def id2_hexstring(num: int) -> str:
        """Return an id as 32 hexadecimal digits.

        Raises:
            InvalidId: If it is no number of 128 bits.
        """
        return f"{number_in(num, _BITS, 'cycle'):032x}"

    @staticmethod
    def id2_hexstring_0x(num: int) -> str:
        """Return an id as `0x` and 32 hexadecimal digits.

        Raises:
            InvalidId: If it is no number of 128 bits.
        """
        return f"0x{number_in(num, _BITS, 'cycle'):032x}"

    @staticmethod
    def hex2id(hexnum: str) -> int:
        """Return the id of a hexadecimal text, with `0x` or without.

        Raises:
            InvalidId: If it is none.
        """
        return to_number(hexnum)

    @staticmethod
    def ipport(hexnum: str) -> tuple[str, int]:
        """Return the address and port of an id.

        Args:
            hexnum: Its hexadecimal text; the integer will do, too.

        Raises:
            InvalidId: If it is no id.
        """
        return address_of(to_number(hexnum))

    def parse(self, value: int | str) -> ParsedID:
        """Say what an identifier of this kind tells about itself.

        Args:
            value: An id, or its hexadecimal text.

        Raises:
            InvalidId: If it is none.
            InvalidType: If it is no integer and no text.
        """
        number = to_number(value)
        address, port = address_of(number)
        return ParsedID(
            kind=self.kind,
            text=f"{number:032x}",
            number=number,
            sequence=number % _ROUND,
            origin=f"{address}:{port}",
        )

    def stats(self) -> IDStats:
        """Return the state of this moment."""
        return IDStats(kind=self.kind, left=self._run.left())

    def __repr__(self) -> str:
        address, port = address_of(self._prefix)
        return f"<{type(self).__name__} {address}:{port}>"


def _now() -> int:
    millis = time.time_ns() // 1_000_000
    return (millis << 39 | int.from_bytes(os.urandom(5), "big") >> 1) % _ROUND


def address_of(number: int) -> tuple[str, int]:
    """Return the address and port of an id."""
    address = ipaddress.IPv4Address(number >> _COUNTER_BITS + 16)
    return str(address), number >> _COUNTER_BITS & 0xFFFF


def hash_of_ipv6(ipaddr: str) -> int:
    """Return 32 bits that stand for an IPv6 address: its BLAKE2s hash.

    Two of a thousand addresses share them with a chance of one in ten thousand.

    Raises:
        InvalidValue: If it is no IPv6 address.
        InvalidType: If it is no text.
    """
    expect(ipaddr, str, "is no address: give a text such as '2001:db8::1'")
    try:
        packed = ipaddress.IPv6Address(ipaddr).packed
    except ValueError as error:
        raise InvalidValue(f"{ipaddr!r} is no IPv6 address: {error}") from None
    return int.from_bytes(hashlib.blake2s(packed, digest_size=4).digest(), "big")


def number_of_ipv4(ipaddr: str) -> int:
    """Return an IPv4 address, written as four numbers, as one.

    Raises:
        InvalidValue: If it is none.
        InvalidType: If it is no text.
    """
    expect(ipaddr, str, "is no address: give a text such as '10.0.0.1'")
    try:
        return int(ipaddress.IPv4Address(ipaddr))
    except ValueError as error:
        hint = (
            "; for IPv6 take CycleIDGenerator.for_ipv6, which hashes it to 32 bits"
            if ":" in ipaddr
            else ""
        )
        raise InvalidValue(
            f"{ipaddr!r} is no IPv4 address of four numbers: {error}{hint}"
        ) from None


def to_number(value: object) -> int:
    """Return an id, or its hexadecimal text, as a number.

    Raises:
        InvalidId: If it is none of 128 bits.
        InvalidType: If it is no integer and no text.
    """
    if not isinstance(value, str):
        return number_in(value, _BITS, "cycle")

    digits = value[2:] if value[:2] in {"0x", "0X"} else value
    if not 0 < len(digits) <= _DIGITS or not set(digits) <= _HEX:
        raise InvalidId(
            f"{value[:50]!r} is no cycle id: those have 1 to {_DIGITS} hex digits"
        )
    return int(digits, 16)


_HEX: Final = frozenset("0123456789abcdefABCDEF")
