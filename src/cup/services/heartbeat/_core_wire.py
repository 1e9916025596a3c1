"""What a heartbeat looks like on the wire: 61 bytes, a name, sometimes a few readings.

| bytes   |                                                                       |
|---------|-----------------------------------------------------------------------|
| 0..7    | magic, version, kind, key id                                          |
| 8..15   | incarnation: which life of the agent                                  |
| 16..23  | sequence: which packet of that life                                   |
| 24..31  | wall clock of the sender, milliseconds                                |
| 32..39  | echo: what the other side is to know again                            |
| 40..43  | the time-out that the agent asks for, milliseconds; 0 for none        |
| 44      | length of the name                                                    |
| 45..    | name (UTF-8), readings (JSON)                                         |
| last 16 | keyed BLAKE2b of all before, by the key of the agent                  |

Numbers are big-endian, so that bytes compare as the numbers do. A monitor answers with
the same layout; the kind says which direction a packet has, and is under the signature.

Everything here is pure, and raises for no packet. Not here: what is accepted
(`_core_hearing`).
"""

from __future__ import annotations

import hashlib
import struct
from hmac import compare_digest
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from .keys import AgentKeys

__all__ = [
    "BEAT",
    "CHALLENGE",
    "LEAST",
    "LEAVE",
    "MAC",
    "MOST",
    "NAME_AT",
    "PROBE",
    "STALE",
    "Hasher",
    "Packet",
    "Sealer",
    "make_hasher",
    "read",
    "verify",
]

MAC: Final = 16
NAME_AT: Final = 45
LEAST: Final = NAME_AT + 1 + MAC
MOST: Final = 1400
NAME_MOST: Final = 200
READINGS: Final = 1024
"""Bytes of readings at most: a packet fits into any network's frame."""

BEAT: Final = 1
LEAVE: Final = 2
PROBE: Final = 16
CHALLENGE: Final = 17
STALE: Final = 18

_MAGIC: Final = b"\xcbh\x01"  # the last is the version
_HEAD: Final = struct.Struct("!3sB4sQQQ8sIB")
_PERSON: Final = b"cup hb packet 1"
_KINDS: Final = frozenset({BEAT, LEAVE, PROBE, CHALLENGE, STALE})
_EMPTY: Final = bytes(8)

Hasher: TypeAlias = "hashlib.blake2b"


class Packet(NamedTuple):
    """A packet, taken apart; nothing in it is to be believed before `verify`."""

    kind: int
    key_id: bytes
    incarnation: int
    sequence: int
    millis: int
    echo: bytes
    timeout: int
    name: bytes
    readings: bytes


def make_hasher(key: bytes) -> Hasher:
    """Return what a signature is made with: `verify` takes copies, which is cheap."""
    return hashlib.blake2b(key=key, digest_size=MAC, person=_PERSON)


def read(data: bytes) -> Packet | None:
    """Take a packet apart; None if it cannot be one."""
    length = len(data)
    if not LEAST <= length <= MOST:
        return None

    magic, kind, key_id, life, seq, millis, echo, timeout, size = _HEAD.unpack_from(
        data
    )
    end = NAME_AT + size
    if magic != _MAGIC or kind not in _KINDS or end > length - MAC:
        return None
    if not 1 <= size <= NAME_MOST:
        return None

    name, readings = data[NAME_AT:end], data[end:-MAC]
    return Packet(kind, key_id, life, seq, millis, echo, timeout, name, readings)


def verify(hasher: Hasher, data: bytes) -> bool:
    """Tell whether a packet is signed by the key of this hasher, in constant time."""
    signed = hasher.copy()
    signed.update(data[:-MAC])
    return compare_digest(signed.digest(), data[-MAC:])


class Sealer:
    """Makes signed packets for, or as, one agent."""

    __slots__ = ("_hasher", "_hashers", "_key_id", "_name")

    def __init__(self, keys: AgentKeys) -> None:
        self._name: bytes = keys.name.encode()
        self._hashers: dict[bytes, Hasher] = {
            key_id: make_hasher(key) for key_id, key in keys.items()
        }
        self._key_id, self._hasher = next(iter(self._hashers.items()))

    def seal(
        self,
        kind: int,
        incarnation: int,
        sequence: int,
        millis: int,
        *,
        echo: bytes = _EMPTY,
        timeout: int = 0,
        readings: bytes = b"",
    ) -> bytes:
        """Return a packet."""
        body = (
            _HEAD.pack(
                _MAGIC,
                kind,
                self._key_id,
                incarnation,
                sequence,
                max(0, millis),
                echo,
                timeout,
                len(self._name),
            )
            + self._name
            + readings
        )
        return sign(self._hasher, body)

    def open(self, data: bytes) -> Packet | None:
        """Return a packet for this agent; None if it is not, or not signed so."""
        packet = read(data)
        if packet is None or packet.name != self._name:
            return None

        hasher = self._hashers.get(packet.key_id)
        return packet if hasher is not None and verify(hasher, data) else None


def sign(hasher: Hasher, body: bytes) -> bytes:
    """Return a body with its signature."""
    signed = hasher.copy()
    signed.update(body)
    return body + signed.digest()
