"""What a store of metadata writes into its log, and into its checkpoints.

The log's codec is named `FORMAT`, so that nobody opens a store as another log for
writing. Its records:

- type 0, mode ADD, SET or DEL: a change. 4 bytes tell the length of the key (little
  endian), then come the key and the value. DEL has no value.
- type 1: a header, as JSON: the version of the schema, the names of the codecs. It is
  the first record of a store, and comes again when those change.
- type 2: an entry of an older schema that could not be migrated, as JSON and a change;
  with mode DEL, all of them with that key are forgotten.
- other types and modes: of a later version. They are kept.

A checkpoint is `MAGIC`, 4 bytes with the length of a head, that head as JSON, the
lengths of keys and values in turn (4 bytes each), and keys and values in turn.

Not here: what all that means (`_core_meta_state`).
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cup.errors import CorruptRecord, UnsupportedFormat

from .api_values import Mode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "CHANGE",
    "FORMAT",
    "HEADER",
    "OLD",
    "Frozen",
    "Header",
    "OldEntry",
    "Strange",
    "old_entry",
    "pack_change",
    "pack_old",
    "pack_state",
    "unpack_change",
    "unpack_state",
]

FORMAT: Final = "cup-meta-1"
CHANGE: Final = 0
HEADER: Final = 1
OLD: Final = 2

_MAGIC: Final = b"CUPMETA1"
_LENGTH: Final = 4


@dataclass(frozen=True, slots=True)
class Header:
    """What a store says about itself.

    Attributes:
        schema: The version of what it stores; 0 for a store that says nothing.
        key: The name of the codec of its keys.
        value: The same of its values.
    """

    schema: int = 0
    key: str = ""
    value: str = ""

    def pack(self) -> bytes:
        """Return the payload of its record."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def unpack(cls, payload: bytes) -> Header | None:
        """Return what a record says; None if that means nothing."""
        try:
            fields = json.loads(payload)
            return cls(int(fields["schema"]), str(fields["key"]), str(fields["value"]))
        except (ValueError, KeyError, TypeError):
            return None


class Strange(NamedTuple):
    """A record of a kind that is not known here; it is kept as it is.

    Attributes:
        id: The id it had.
        type: Its type.
        mode: Its mode.
        payload: Its bytes.
    """

    id: int
    type: int
    mode: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Frozen:
    """The state of a store at one moment, which nobody changes.

    Attributes:
        header: What the store says about itself.
        next_id: The first change that is not part of it.
        entries: The bytes of keys and values.
        strange: Records that mean nothing here.
        size: Bytes of keys and values.
        history: Bytes of the changes since the last checkpoint.
    """

    header: Header
    next_id: int
    entries: Mapping[bytes, bytes]
    strange: Sequence[Strange]
    size: int = 0
    history: int = 0


def pack_change(key: bytes, value: bytes = b"") -> bytes:
    """Return the payload of a change."""
    return b"%b%b%b" % (len(key).to_bytes(_LENGTH, "little"), key, value)


def unpack_change(payload: bytes) -> tuple[bytes, bytes] | None:
    """Return the key and the value of a change; None if it is none."""
    end = int.from_bytes(payload[:_LENGTH], "little") + _LENGTH
    if len(payload) < end:
        return None
    return payload[_LENGTH:end], payload[end:]


class OldEntry(NamedTuple):
    """An entry of an older schema that could not be migrated.

    Attributes:
        schema: The version it was stored under.
        reason: Why.
        key: The bytes of its key.
        value: The bytes of its value.
    """

    schema: int
    reason: str
    key: bytes
    value: bytes


def pack_old(schema: int, key: bytes, value: bytes, reason: str) -> Strange:
    """Return what is kept of an entry that could not be migrated."""
    why = json.dumps({"schema": schema, "reason": reason}).encode()
    return Strange(0, OLD, Mode.SET, pack_change(why, pack_change(key, value)))


def old_entry(record: Strange) -> OldEntry | None:
    """Return the old entry that was kept as a record; None if it is something else."""
    outer = unpack_change(record.payload) if record.type == OLD else None
    inner = None if outer is None else unpack_change(outer[1])
    if outer is None or inner is None:
        return None
    why = json.loads(outer[0])
    return OldEntry(why["schema"], why["reason"], *inner)


def pack_state(state: Frozen) -> bytes:
    """Return what a checkpoint keeps."""
    entries = state.entries
    strange = [(s.id, s.type, s.mode, len(s.payload)) for s in state.strange]
    head = json.dumps(
        {**asdict(state.header), "entries": len(entries), "strange": strange}
    ).encode()
    both = [*chain.from_iterable(entries.items())]
    lengths = struct.pack(f"<{len(both)}I", *map(len, both))
    payloads = [record.payload for record in state.strange]
    start = _MAGIC + len(head).to_bytes(_LENGTH, "little") + head
    return b"".join([start, lengths, *both, *payloads])


def unpack_state(content: bytes, at_id: int, folder: str) -> Frozen:
    """Return the state that a checkpoint keeps.

    Raises:
        UnsupportedFormat: If it is none of a store of metadata.
        CorruptRecord: If it contradicts itself.
    """
    if content[: len(_MAGIC)] != _MAGIC:
        raise UnsupportedFormat(
            f"{folder}: its checkpoint is none of a store of metadata, or one of a "
            f"later version; open it with what wrote it"
        )
    try:
        return _unpack(content, at_id)
    except (struct.error, ValueError, KeyError, TypeError) as error:
        raise CorruptRecord(
            f"{folder}: its checkpoint contradicts itself ({error}); repair() puts it "
            f"aside, so that the one before counts",
            path=folder,
            record_id=at_id,
        ) from error


def _unpack(content: bytes, at_id: int) -> Frozen:
    at = len(_MAGIC)
    start = at + _LENGTH
    end = start + int.from_bytes(content[at:start], "little")
    head: dict[str, Any] = json.loads(content[start:end])
    count = 2 * int(head["entries"])
    lengths = struct.unpack_from(f"<{count}I", content, end)
    entries: dict[bytes, bytes] = {}
    at = start = end + _LENGTH * count
    pairs = iter(lengths)
    for of_key, of_value in zip(pairs, pairs, strict=True):
        middle = at + of_key
        end = middle + of_value
        entries[content[at:middle]] = content[middle:end]
        at = end
    size = at - start
    strange: list[Strange] = []
    for number, kind, mode, length in head["strange"]:
        strange.append(Strange(number, kind, mode, content[at : at + length]))
        at += length
    if at != len(content):
        raise ValueError(f"{len(content)} bytes instead of {at}")
    header = Header(head["schema"], head["key"], head["value"])
    return Frozen(header, at_id, entries, strange, size)
