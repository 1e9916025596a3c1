"""Looking at the state of a store of metadata from outside, without its codecs.

Whoever has the store open goes on; what is durable at the moment is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cup._core.disk import OS_DISK
from cup._core.running import guard_blocking
from cup.errors import CorruptRecord, RecordGone

from ._core_meta_format import FORMAT
from ._core_meta_open import fold_all, unknown_record
from ._core_meta_state import State
from ._core_reading import ReaderCore
from ._core_settings import MAX_RECORD, Folder, folder_of
from .api_meta import StoreState

if TYPE_CHECKING:
    from cup._core.disk import Disk

__all__ = ["read_state"]

_TRIES: Final = 5  # a store may be compacted while it is read


def read_state(
    directory: Folder, *, max_record: int = MAX_RECORD, disk: Disk | None = None
) -> StoreState:
    """Return the state of a store of metadata, whoever has it open.

    Args:
        directory: Where the store is.
        max_record: The largest key and value together, in bytes.
        disk: Where the directory is, for tests; None for the real disk.

    Raises:
        FileNotFoundError: If there is no such directory.
        CorruptRecord: If something that was durable is damaged or gone.
        UnsupportedFormat: If it is no store, or one of a later version.
        RecordTooLarge: If a record has more than `max_record` bytes.
        OSError: If it cannot be read.
    """
    guard_blocking("read_state()", "anyio.to_thread.run_sync(read_state, ...)")
    place = OS_DISK if disk is None else disk
    folder = folder_of(directory)
    for tries in range(_TRIES):
        try:
            return _read(place, folder, max_record)
        except (RecordGone, CorruptRecord) as error:
            # What is gone because it was compacted meanwhile, is not gone for good.
            if tries == _TRIES - 1 or not _is_moving(error):
                raise
    raise AssertionError  # pragma: no cover - the last try returns or raises


def _is_moving(error: RecordGone | CorruptRecord) -> bool:
    return isinstance(error, RecordGone) or not error.offset


def _read(disk: Disk, folder: str, max_record: int) -> StoreState:
    core = ReaderCore(folder, disk, max_record, FORMAT)
    try:
        state = State()
        limit = core.extent()
        fold_all(
            state,
            core.latest_checkpoint(),
            core.cursor,
            first_id=core.first_id,
            limit=limit,
            folder=folder,
        )
    finally:
        core.close()
    header = state.header
    return StoreState(
        directory=folder,
        schema=header.schema,
        key_codec=header.key,
        value_codec=header.value,
        next_id=state.next_id,
        entries=tuple(state.entries.items()),
        unknown=tuple(map(unknown_record, state.strange)),
    )
