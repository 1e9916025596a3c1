"""What threads read from a log, whoever writes it.

Not here: waiting for records that come (`sync`, `sync_reader`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NoReturn, TypeVar

from cup.errors import InvalidType

from ._core_reading import decoder_of, encoder_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from typing_extensions import Self

    from ._core_cursor import Cursor
    from ._core_reading import Source
    from .api import Checkpoint, Codec, Record

__all__ = ["Readable"]

T = TypeVar("T")
C = TypeVar("C", bound="Source")


class Readable(Generic[T, C]):
    """What both faces for threads offer that read a log."""

    __slots__ = ("_codec", "_core", "_decode", "_encode_all")

    def __init__(self, core: C, codec: Codec[T]) -> None:
        self._core: C = core
        self._codec: Codec[T] = codec
        self._decode = decoder_of(codec)
        self._encode_all = encoder_of(codec)

    @property
    def first_id(self) -> int:
        """The first record that the log has, or will have."""
        return self._core.first_id

    @property
    def durable_id(self) -> int:
        """The last record that is durable."""
        return self._core.extent() - 1

    def records(
        self, start: int | None = None, stop: int | None = None
    ) -> Iterator[Record[T]]:
        """Read what is durable now, from `start` to before `stop`.

        Args:
            start: The first record; None for the first there is. One that does not
                exist yet is no error.
            stop: The record to stop before; None for no limit.

        Raises:
            RecordGone: If `start` lies before the first record.
            CorruptRecord: If one of them is damaged, while reading.
            OSError: If they cannot be read.
            InvalidType: If an id is no int.
            InvalidValue: If it is negative.
        """
        limit = self._core.extent()
        cursor = self._core.cursor(start)
        return self._read(cursor, limit if stop is None else min(stop, limit))

    def _read(self, cursor: Cursor, limit: int) -> Iterator[Record[T]]:
        with cursor:
            while records := cursor.read(limit):
                yield from self._decode(records)

    def latest_checkpoint(self) -> Checkpoint | None:
        """Return the last state that was stored.

        Raises:
            OSError: If it cannot be read.
        """
        return self._core.latest_checkpoint()

    def close(self) -> None:
        """End."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._core.describe()}>"

    def __reduce__(self) -> NoReturn:
        raise InvalidType(
            f"a {type(self).__name__} cannot be pickled or copied: it has open files; "
            "open it where it is used"
        )
