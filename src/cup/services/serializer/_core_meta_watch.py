"""Watching a store of metadata: which changes are meant, and what they look like.

Not here: waiting for them (the faces).
"""

from __future__ import annotations

from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Generic, TypeVar

from cup._core.clock import check_timeout
from cup.errors import InvalidType, InvalidValue, RecordGone, UnreadableEntry

from ._core_meta_format import CHANGE, unpack_change
from ._core_meta_log import Folded
from ._core_settings import check_id
from ._core_tide import NewsAsk
from .api_meta import Change
from .api_values import Mode
from .codecs import BytesCodec
from .text_codec import TextCodec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._core_cursor import Cursor
    from ._core_meta import MetaCore
    from .api_values import Record

__all__ = ["Watching"]

K = TypeVar("K")
V = TypeVar("V")

_CHANGES = {Mode.ADD.value, Mode.SET.value, Mode.DEL.value}


class Watching(Generic[K, V]):
    """One who watches a store. Not thread-safe.

    Args:
        core: The store.
        key: The key to watch; None for all.
        prefix: What watched keys begin with; None for all.
        start: The first change; None for the next one.
        timeout: Seconds without a change after which it ends; None for never.

    Attributes:
        start: The same as above.

    Raises:
        RecordGone: If `start` lies before what can be watched.
        InvalidType: If an argument has the wrong type.
        InvalidValue: If a value makes no sense.
    """

    __slots__ = ("_core", "_folded", "_key", "_prefix", "_timeout", "_until", "start")

    def __init__(
        self,
        core: MetaCore[K, V],
        key: K | None,
        prefix: K | None,
        start: int | None,
        timeout: float | None,
    ) -> None:
        core.check()
        if key is not None and prefix is not None:
            raise InvalidValue("give a key or a prefix, not both")
        if prefix is not None and not has_prefixes(core.key):
            raise InvalidType(
                f"keys that are {core.key.name} have no prefix; watch all of them, and "
                f"look at each"
            )
        self._core = core
        self._key = None if key is None else core.key.encode(key)
        self._prefix = b"" if prefix is None else core.key.encode(prefix)
        self._timeout = check_timeout(timeout)
        self._folded = Folded(core.log)
        self.start: int = core.state.next_id
        if start is not None:
            self.start = check_id("start", start)
            if start < core.floor:
                raise RecordGone(
                    f"change {start} is gone: it was compacted, changes from "
                    f"{core.floor} on are there; take a snapshot, and watch from its "
                    f"next_id on"
                )
        self.restart()

    def restart(self) -> None:
        """Let the time of patience begin anew."""
        self._until = inf if self._timeout is None else monotonic() + self._timeout

    def patience(self) -> float | None:
        """Return the seconds that are left to wait for a change."""
        return None if self._until == inf else max(0.0, self._until - monotonic())

    def is_over(self) -> bool:
        """Tell whether no change will ever come again."""
        return self._folded.is_over()

    def news(self, cursor: Cursor) -> NewsAsk:
        """Return the ask that waits for the next record."""
        return NewsAsk(self._core.log.tide, self._folded, cursor.next_id)

    def read(self, cursor: Cursor) -> list[Record[bytes]]:
        """Return the next records; none if there is none."""
        return cursor.read(self._folded.durable)

    def changes(self, records: list[Record[bytes]]) -> Iterator[Change[K, V]]:
        """Return the changes among records that are meant.

        Raises:
            UnreadableEntry: If one means nothing.
        """
        vain, wanted, prefix = self._core.state.vain, self._key, self._prefix
        for number, payload, kind, mode in records:
            change = unpack_change(payload) if kind == CHANGE else None
            if change is None or mode not in _CHANGES or number in vain:
                continue

            raw, content = change
            if raw == wanted or (wanted is None and raw.startswith(prefix)):
                self.restart()
                yield self._decode(number, Mode(mode), raw, content)

    def _decode(
        self, number: int, mode: Mode, raw: bytes, content: bytes
    ) -> Change[K, V]:
        core = self._core
        try:
            key = core.key.decode(raw)
            value = None if mode is Mode.DEL else core.value.decode(content)
        except Exception as error:
            raise UnreadableEntry(
                f"change {number}, of key {raw!r}, means nothing: {error!r}; watch "
                f"from {number + 1} on to go past it"
            ) from error
        return Change(number, mode, key, value)


def has_prefixes(codec: object) -> bool:
    """Tell whether what begins alike has bytes that begin alike."""
    return isinstance(codec, TextCodec | BytesCodec)
