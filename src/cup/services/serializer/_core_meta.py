"""A store of metadata: what its two faces share.

It is a log whose records are folded by key. Reading looks into memory and never waits;
writing appends to the log, and shares its group commit.

Not here: folding (`_core_meta_state`), opening and migration (`_core_meta_open`), when
it is compacted (`_core_meta_compact`).
"""

from __future__ import annotations

from _thread import allocate_lock
from collections.abc import Iterable, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from cup.errors import InvalidType, KeyExists, LogClosed, NoSuchKey, UnreadableEntry

from ._core_meta_compact import Compactor
from ._core_meta_format import (
    CHANGE,
    FORMAT,
    HEADER,
    OLD,
    Header,
    old_entry,
    pack_change,
    pack_state,
)
from ._core_meta_log import StoreLog
from ._core_meta_open import (
    check_header,
    fold_all,
    migrated,
    unknown_record,
    unread_in,
)
from ._core_meta_state import Asking
from .api_meta import CompactReport, MetaStats, UnknownEntry
from .api_values import Mode

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._core_format import Piece
    from ._core_meta_format import Frozen
    from ._core_meta_settings import MetaSettings
    from ._core_meta_state import State
    from .api_meta import StoredEntry
    from .api_values import Codec

__all__ = ["MetaCore"]

K = TypeVar("K")
V = TypeVar("V")


class MetaCore(Generic[K, V]):
    """A store that is open.

    Args:
        folder: Its directory, absolute; it is made if it is missing.
        settings: How it is kept.
        key: The codec of its keys.
        value: The codec of its values.
        schema: The version of what it stores.
        migrate: What makes a new entry of an old one.

    Attributes:
        log: Its log.
        state: What that amounts to.
        key: The same as above.
        value: The same.
        delay: Seconds that a change may wait for others to share a sync with.
        floor: The first change that can still be watched.
    """

    __slots__ = (
        "__weakref__",
        "_compacting",
        "_compactor",
        "_latest",
        "_older",
        "_policy",
        "delay",
        "floor",
        "key",
        "log",
        "state",
        "value",
    )

    def __init__(
        self,
        folder: str,
        settings: MetaSettings,
        *,
        key: Codec[K],
        value: Codec[V],
        schema: int,
        migrate: Callable[[StoredEntry], tuple[K, V] | None] | None,
    ) -> None:
        if migrate is not None and not callable(migrate):
            raise InvalidType(f"migrate must be callable, not {migrate!r}")

        self.key: Codec[K] = key
        self.value: Codec[V] = value
        self.delay: float = settings.log.durability.max_delay
        self._policy = settings.compaction
        self._compacting = allocate_lock()
        self.log: StoreLog = StoreLog(folder, settings.log, FORMAT)
        self.state: State = self.log.state
        self._compactor = Compactor(
            self.compact, f"cup-compact-{folder.rpartition('/')[2]}", self.wrote
        )
        try:
            self._begin(Header(schema, key.name, value.name), migrate)
        except BaseException:
            self.log.close()
            raise
        self.wrote()

    def _begin(
        self,
        wanted: Header,
        migrate: Callable[[StoredEntry], tuple[K, V] | None] | None,
    ) -> None:
        log, state = self.log, self.state
        checkpoint = log.latest_checkpoint()
        self._older: int = 0
        self._latest: int = 0 if checkpoint is None else checkpoint.at_id
        self.floor: int = max(1, self._latest)
        fold_all(
            state,
            checkpoint,
            log.cursor,
            first_id=log.first_id,
            limit=log.durable,
            folder=log.folder,
        )
        outdated = check_header(
            state.header, wanted, log.folder, migrate=migrate is not None
        )
        made = None
        if outdated and migrate is not None:
            made = migrated(state, migrate, self.key, self.value)
        if state.header != wanted or state.announced is not None:
            log.write([log.piece(wanted.pack(), HEADER, Mode.SET)], 0.0)
        if made is not None:
            state.replace(*made, wanted)
            frozen, _, _ = state.freeze()
            self._store(frozen)
            log.purge(self._latest)
            self.floor = self._latest
        state.unread = unread_in(state.entries, self.key, self.value)

    # -- reading -----------------------------------------------------------------------

    def check(self) -> None:
        """Refuse to read what may be old.

        Raises:
            LogClosed: If the store is closed.
            ForkedProcess: If this is a forked child.
        """
        log = self.log
        log.check_process()
        if log.committer.is_closed():
            raise LogClosed(f"{log.folder}: the store is closed")

    def look(self, key: K) -> bytes | None:
        """Return the bytes of a value; None if there is no such key.

        Raises:
            UnreadableEntry: If it means nothing.
        """
        self.check()
        raw = self.key.encode(key)
        state = self.state
        content = state.entries.get(raw)
        if raw in state.unread:
            raise UnreadableEntry(
                f"{self.log.folder}: what is stored under {key!r} means nothing: "
                f"{state.unread[raw]}; set() replaces it"
            )
        return content

    def has(self, key: K) -> bool:
        """Tell whether something is stored under a key, even if it means nothing."""
        self.check()
        return self.key.encode(key) in self.state.entries

    def refuse_known(self, key: K) -> None:
        """Refuse to add a key that is there.

        Raises:
            KeyExists: If it is.
        """
        if self.has(key):
            raise KeyExists(self.known_already(key))

    def known_already(self, key: K) -> str:
        """Say that a key is there."""
        return f"{self.log.folder}: key {key!r} is there already; set() replaces it"

    def require(self, key: K) -> bytes:
        """Return the bytes of a value.

        Raises:
            NoSuchKey: If there is no such key.
            UnreadableEntry: If it means nothing.
        """
        content = self.look(key)
        if content is None:
            raise NoSuchKey(f"{self.log.folder}: there is no key {key!r}")
        return content

    def unknown(self) -> tuple[UnknownEntry, ...]:
        """Return what means nothing to this program."""
        self.check()
        frozen, unread, _ = self.state.freeze()
        found = [
            UnknownEntry(key=key, value=frozen.entries[key], reason=reason)
            for key, reason in unread.items()
        ]
        found += map(unknown_record, frozen.strange)
        return tuple(found)

    def stats(self) -> MetaStats:
        """Return its figures."""
        state, compactor = self.state, self._compactor
        return MetaStats(
            entries=state.count(),
            unknown=len(state.unread) + len(state.strange),
            schema=state.header.schema,
            next_id=state.next_id,
            state_size=state.size,
            history_size=state.history,
            compactions=compactor.done,
            failed_compactions=compactor.failed,
            compaction_seconds=compactor.seconds,
            log=self.log.stats(),
        )

    def describe(self) -> str:
        """Say what and where it is."""
        log, state = self.log, self.state
        word = "closed" if log.committer.is_closed() else "open"
        if log.writer.poison is not None:
            word = "poisoned"
        count = f"{state.count()} entries"
        if state.unread or state.strange:
            count += f", {len(state.unread) + len(state.strange)} unknown"
        return f"{log.folder!r} {count}, schema {state.header.schema}, {word}"

    # -- changes -----------------------------------------------------------------------

    def setting(self, key: K, value: V) -> Piece:
        """Return the record that gives a key a value."""
        payload = pack_change(self.key.encode(key), self.value.encode(value))
        return self.log.piece(payload, CHANGE, Mode.SET)

    def adding(self, key: K, value: V) -> Asking:
        """Return the record that gives a new key a value."""
        payload = pack_change(self.key.encode(key), self.value.encode(value))
        return Asking(*self.log.piece(payload, CHANGE, Mode.ADD))

    def deleting(self, key: K) -> Asking:
        """Return the record that removes a key."""
        payload = pack_change(self.key.encode(key))
        return Asking(*self.log.piece(payload, CHANGE, Mode.DEL))

    def updating(
        self, values: Mapping[K, V] | Iterable[tuple[K, V]], delete: Iterable[K]
    ) -> list[Piece]:
        """Return the records of several changes."""
        _check_many(values, "a dict, or pairs of key and value")
        _check_many(delete, "a list of keys")
        pairs = values
        if isinstance(values, Mapping):
            pairs = cast("Mapping[K, V]", values).items()
        pieces = [
            self.setting(key, value)
            for key, value in cast("Iterable[tuple[K, V]]", pairs)
        ]
        pieces += map(self.deleting, delete)
        return pieces

    def forgetting(self, key: bytes) -> list[Piece]:
        """Return the records that remove unknown entries of a key."""
        self.check()
        pieces: list[Piece] = []
        if key in self.state.unread:
            pieces.append(Asking(*self.log.piece(pack_change(key), CHANGE, Mode.DEL)))
        old = map(old_entry, self.state.strange)
        if any(entry is not None and entry.key == key for entry in old):
            pieces.append(self.log.piece(key, OLD, Mode.DEL))
        return pieces

    def write(self, pieces: list[Piece]) -> int:
        """Make changes durable, all or none; return the id of the first one."""
        first = self.log.write(pieces, self.delay)
        self.wrote()
        return first

    def wrote(self) -> None:
        """Have the store compacted, if its history is too long."""
        policy = self._policy
        if policy is not None:
            history = self.state.history
            if history > policy.least and history > policy.ratio * self.state.size:
                self._compactor.want()

    # -- compaction --------------------------------------------------------------------

    def compact(self) -> CompactReport:
        """Store the state, and remove history.

        What the last but one stored state needs is kept: it counts if the last one is
        damaged.
        """
        start = perf_counter()
        self.check()
        with self._compacting:
            frozen, _, lease = self.state.freeze()
            if frozen.next_id > self._latest:
                self._store(frozen)
            del lease
            purged = self.log.purge(self._older)
            self.floor = max(self.floor, self._older)
            self.state.forget_before(self.floor)
            self._compactor.done += 1
            self._compactor.seconds = perf_counter() - start
        return CompactReport(
            at_id=frozen.next_id,
            entries=len(frozen.entries),
            size=frozen.size,
            purged=purged,
        )

    def _store(self, frozen: Frozen) -> None:
        self.log.checkpoint(pack_state(frozen), frozen.next_id)
        self.state.compacted(frozen)
        self._older, self._latest = self._latest, frozen.next_id

    # -- the end -----------------------------------------------------------------------

    def close(self) -> None:
        """End, and let others open the store."""
        self._compactor.stop()
        self.log.close()


def _check_many(given: object, wanted: str) -> None:
    # A text is a sequence, too: of keys that nobody meant.
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise InvalidType(f"{given!r} cannot be updated: give {wanted}")
