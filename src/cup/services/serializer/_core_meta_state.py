"""The state of a store of metadata: records of its log, folded by key.

The log is the only truth: records are folded once they are durable, in their order, by
whoever wrote them, and the same records give the same state after a restart. So what is
read is durable, and what a change has found (an `add` whose key is there) is found
where it stands in the log. Folding a record twice does no harm: an exception from
outside may end a fold at any point, and it is done again then.

Keys and values stay the bytes that they are on disk.

Not here: what they look like there (`_core_meta_format`), and files.
"""

from __future__ import annotations

import weakref
from _thread import allocate_lock
from typing import TYPE_CHECKING

from cup.errors import CorruptRecord

from ._core_format import FRAME_SIZE, Piece
from ._core_meta_format import (
    CHANGE,
    HEADER,
    OLD,
    Frozen,
    Header,
    Strange,
    old_entry,
    unpack_change,
)
from .api_values import Mode

if TYPE_CHECKING:
    from _thread import LockType
    from collections.abc import Iterable

__all__ = ["Asking", "Lease", "State"]

_NOTHING = Header()
_CHANGES = frozenset(mode.value for mode in (Mode.ADD, Mode.SET, Mode.DEL))


class Asking(Piece):
    """A change whose caller wants to know what it has found.

    Attributes:
        met: Whether its key was there; None until it is folded.
    """

    met: bool | None = None


class Lease:
    """Held by those who read entries that must not change any more."""

    __slots__ = ("__weakref__",)


class State:
    """What the records of a store amount to. Thread-safe.

    Attributes:
        entries: The bytes of keys and values. It is replaced, not changed, while
            somebody holds a lease on it.
        strange: Records that mean nothing here.
        unread: Why entries mean nothing to the codecs, by the bytes of their keys;
            replaced, not changed.
        header: What the store says about itself.
        announced: What it said last, if the state that goes with it is missing.
        next_id: The id behind the last record that was folded.
        size: Bytes of keys and values.
        history: Bytes of the records since the last checkpoint.
        vain: Ids of changes that changed nothing: they added a key that was there, or
            removed one that was not.
        mutex: Held while records are folded.
    """

    __slots__ = (
        "_goal",
        "_lease",
        "announced",
        "entries",
        "header",
        "history",
        "mutex",
        "next_id",
        "size",
        "strange",
        "unread",
        "vain",
    )

    def __init__(self) -> None:
        self.entries: dict[bytes, bytes] = {}
        self.strange: list[Strange] = []
        self.unread: dict[bytes, str] = {}
        self.header: Header = _NOTHING
        self.announced: Header | None = None
        self.next_id: int = 1
        self.size: int = 0
        self.history: int = 0
        self.vain: set[int] = set()
        self.mutex: LockType = allocate_lock()
        self._lease: weakref.ref[Lease] | None = None
        self._goal: tuple[int, int] = (0, 0)  # a record, and the size that it leads to

    def begin_with(self, frozen: Frozen) -> None:
        """Start from a checkpoint."""
        self.entries = dict(frozen.entries)
        self.strange = [*frozen.strange]
        self.header = frozen.header
        self.announced = None
        self.next_id = frozen.next_id
        self.size = frozen.size

    def freeze(self) -> tuple[Frozen, dict[bytes, str], Lease]:
        """Return the state of this moment.

        Returns:
            The state, which entries cannot be read, and what is to be held while the
            state is used.
        """
        with self.mutex:
            lease = None if self._lease is None else self._lease()
            if lease is None:
                lease = Lease()
                self._lease = weakref.ref(lease)
            frozen = Frozen(
                self.header,
                self.next_id,
                self.entries,
                self.strange[:],
                self.size,
                self.history,
            )
            return frozen, self.unread, lease

    def fold(self, records: Iterable[tuple[int, Piece]]) -> None:
        """Fold durable records, those that were not folded yet.

        Args:
            records: The records and their ids, ascending.

        Raises:
            CorruptRecord: If they do not belong to this state.
        """
        with self.mutex:
            if self._lease is not None and self._lease() is not None:
                self.entries = self.entries.copy()
            self._lease = None
            for number, piece in records:
                if number >= self.next_id:
                    self._fold(number, piece)
                    self.history += len(piece.payload) + FRAME_SIZE
                    self.next_id = number + 1

    def _fold(self, number: int, piece: Piece) -> None:
        payload, _, kind, mode = piece
        change = unpack_change(payload) if kind == CHANGE else None
        if change is None:
            self._fold_other(number, piece)
            return

        if self.announced is not None:
            raise CorruptRecord(
                f"record {number} belongs to schema {self.announced.schema} of the "
                f"store, but the state that was migrated to it is lost",
                record_id=number,
            )
        key, value = change
        former = self.entries.get(key)
        here = former is not None
        if isinstance(piece, Asking):
            if piece.met is None:
                piece.met = here
            here = piece.met  # what was found when it was folded first
        if here if mode == Mode.ADD else mode == Mode.DEL and not here:
            self.vain.add(number)
            return

        if mode not in _CHANGES:
            self._fold_other(number, piece)
            return

        if self._goal[0] != number:  # else it was worked out when it was folded first
            size = self.size if former is None else self.size - len(key) - len(former)
            new = 0 if mode == Mode.DEL else len(key) + len(value)
            self._goal = number, size + new
        if mode == Mode.DEL:
            self.entries.pop(key, None)
        else:
            self.entries[key] = value
        self.size = self._goal[1]
        if key in self.unread:
            self.unread = {k: why for k, why in self.unread.items() if k != key}

    def _fold_other(self, number: int, piece: Piece) -> None:
        payload, _, kind, mode = piece
        header = Header.unpack(payload) if kind == HEADER else None
        if kind == OLD and mode == Mode.DEL:
            self.strange = [s for s in self.strange if not is_old(s, payload)]
        elif header is None:
            if not self.strange or self.strange[-1].id < number:
                self.strange.append(Strange(number, kind, mode, payload))
        elif self.header == _NOTHING:
            self.header = header
        else:
            self.announced = None if header == self.header else header

    def replace(
        self, entries: dict[bytes, bytes], strange: list[Strange], header: Header
    ) -> None:
        """Take what a migration has made."""
        with self.mutex:
            self.strange = strange
            self.entries, self._lease = entries, None
            self.size = sum(len(key) + len(entries[key]) for key in entries)
            self.header, self.announced = header, None

    def compacted(self, frozen: Frozen) -> None:
        """Note that a state was stored: the history begins behind it."""
        with self.mutex:
            self.history -= frozen.history

    def forget_before(self, number: int) -> None:
        """Note that records before an id are gone."""
        with self.mutex:
            self.vain = {known for known in self.vain if known >= number}

    def is_read(self, key: bytes) -> bool:
        """Tell whether there is such a key, and its entry can be read."""
        return key in self.entries and key not in self.unread

    def count(self) -> int:
        """Return how many entries can be read."""
        return len(self.entries) - len(self.unread)


def is_old(record: Strange, key: bytes) -> bool:
    """Tell whether a record keeps an old entry of this key."""
    old = old_entry(record)
    return old is not None and old.key == key
