"""Opening a store of metadata: its state after a restart, and its migration.

The state is the last checkpoint, and the records behind it. A migration makes a new
state of it, which counts once its checkpoint is durable; it is announced in the log
before, so that changes under the new schema are never folded into the old state, even
if the checkpoint is damaged later.

Not here: the files themselves (`_core_recovery`, `_core_checkpoint`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from cup.errors import CorruptRecord, InvalidValue, UnreadableEntry, UnsupportedFormat

from ._core_format import Piece
from ._core_meta_format import Strange, old_entry, pack_old, unpack_state
from .api_meta import StoredEntry, UnknownEntry

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._core_cursor import Cursor
    from ._core_meta_format import Header
    from ._core_meta_state import State
    from .api_values import Checkpoint, Codec

__all__ = ["check_header", "fold_all", "migrated", "unknown_record", "unread_in"]

K = TypeVar("K")
V = TypeVar("V")


def fold_all(
    state: State,
    checkpoint: Checkpoint | None,
    cursor: Callable[[int], Cursor],
    *,
    first_id: int,
    limit: int,
    folder: str,
) -> None:
    """Make the state of what is stored.

    Args:
        state: The state, which is empty.
        checkpoint: The last one; None if there is none.
        cursor: What gives a place to read from.
        first_id: The first record that there is.
        limit: The id behind the last one.
        folder: Where all that is.

    Raises:
        CorruptRecord: If something is missing.
        UnsupportedFormat: If the checkpoint is none of a store.
    """
    if checkpoint is not None:
        at_id = checkpoint.at_id
        state.begin_with(unpack_state(checkpoint.state, at_id, folder))
    if not first_id <= state.next_id <= limit:
        raise CorruptRecord(
            f"{folder}: the state that it starts from ends before record "
            f"{state.next_id}, and its records are those from {first_id} to "
            f"{limit - 1}; a checkpoint is lost, restore it",
            path=folder,
            record_id=state.next_id,
        )
    with cursor(state.next_id) as place:
        while records := place.read(limit):
            state.fold(
                (number, Piece(payload, 0, kind, mode))
                for number, payload, kind, mode in records
            )


def check_header(found: Header, wanted: Header, folder: str, *, migrate: bool) -> bool:
    """Compare what a store says with what it is opened for.

    Returns:
        Whether it has to be migrated.

    Raises:
        UnsupportedFormat: If it cannot be opened like that.
    """
    if found.schema > wanted.schema:
        raise UnsupportedFormat(
            f"{folder}: its schema is {found.schema}, and this program knows "
            f"{wanted.schema}; a later version of the program wrote it"
        )
    if found.schema and found.schema < wanted.schema:
        if not migrate:
            raise UnsupportedFormat(
                f"{folder}: its schema is {found.schema}, and it is opened for "
                f"{wanted.schema}; give migrate= a function that makes new entries of "
                f"old ones"
            )
        return True

    if found.schema and found != wanted:
        raise UnsupportedFormat(
            f"{folder}: its keys and values are {found.key!r} and {found.value!r}, and "
            f"it is opened for {wanted.key!r} and {wanted.value!r}; use the codecs it "
            f"was made with, or a higher schema and migrate="
        )
    return False


def unread_in(
    entries: dict[bytes, bytes], key: Codec[K], value: Codec[V]
) -> dict[bytes, str]:
    """Find the entries that mean nothing to the codecs."""
    unread: dict[bytes, str] = {}
    of_key, of_value = key.decode, value.decode
    for raw, content in entries.items():
        try:
            of_key(raw)
            of_value(content)
        except Exception as error:  # noqa: BLE001 - codecs raise what they like
            unread[raw] = (
                f"{key.name} and {value.name} cannot read key or value: {error!r}"
            )
    return unread


def unknown_record(record: Strange) -> UnknownEntry:
    """Say what is kept as a record, and why it means nothing."""
    old = old_entry(record)
    if old is not None:
        reason = f"schema {old.schema}: {old.reason}"
        return UnknownEntry(key=old.key, value=old.value, reason=reason)

    reason = (
        f"record {record.id} has type {record.type} and mode {record.mode}, which only "
        f"a later version knows"
    )
    return UnknownEntry(key=None, value=record.payload, reason=reason)


def migrated(
    state: State,
    migrate: Callable[[StoredEntry], tuple[K, V] | None],
    key: Codec[K],
    value: Codec[V],
) -> tuple[dict[bytes, bytes], list[Strange]]:
    """Make new entries of all that a state has.

    Returns:
        The entries, and what means nothing: entries that could not be migrated, too.

    Raises:
        InvalidValue: If two entries get the same key.
        BaseException: What `migrate` raises.
    """
    entries: dict[bytes, bytes] = {}
    kept: list[Strange] = []
    schema = state.header.schema
    stored = [StoredEntry(schema, *entry) for entry in state.entries.items()]
    for record in state.strange:
        old = old_entry(record)
        if old is None:
            kept.append(record)
        else:
            stored.append(StoredEntry(old.schema, old.key, old.value))
    for entry in stored:
        try:
            made = migrate(entry)
        except UnreadableEntry as error:
            kept.append(pack_old(*entry, str(error)))
            continue

        if made is None:
            continue
        name = key.encode(made[0])
        if name in entries:
            raise InvalidValue(
                f"migration gives key {made[0]!r} to two entries, the second one was "
                f"{entry.key!r}; nothing was changed"
            )
        entries[name] = value.encode(made[1])
    return entries, kept
