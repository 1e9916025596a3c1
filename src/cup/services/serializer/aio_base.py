"""What tasks read from a log, whoever writes it; twin of `sync_base`.

Not here: waiting for records that come (`aio`, `aio_reader`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NoReturn, TypeVar

from cup.errors import InvalidType

from ._core_reading import decoder_of, encoder_of
from ._core_settings import check_id
from .aio_records import ReadAll, in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

    from typing_extensions import Self

    from ._core_reading import Source
    from .api import Checkpoint, Codec, Record

__all__ = ["AsyncReadable", "in_thread"]

T = TypeVar("T")
C = TypeVar("C", bound="Source")


class AsyncReadable(Generic[T, C]):
    """What both faces for tasks offer that read a log."""

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
    ) -> AsyncIterator[Record[T]]:
        """Read what is durable now, from `start` to before `stop`.

        Twin of `Log.records`. Files are read by a worker thread.

        Args:
            start: The first record; None for the first there is. One that does not
                exist yet is no error.
            stop: The record to stop before; None for no limit.

        Raises:
            RecordGone: If `start` lies before the first record, while reading.
            CorruptRecord: If one of them is damaged, while reading.
            OSError: If they cannot be read.
            InvalidType: If an id is no int.
            InvalidValue: If it is negative.
        """
        if start is not None:
            check_id("start", start)
        return ReadAll(self._core, start, stop, self._decode)

    async def latest_checkpoint(self) -> Checkpoint | None:
        """Return the last state that was stored.

        Twin of `Log.latest_checkpoint`.

        Raises:
            OSError: If it cannot be read.
        """
        return await in_thread(self._core.latest_checkpoint)

    async def close(self) -> None:
        """End."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._core.describe()}>"

    def __reduce__(self) -> NoReturn:
        raise InvalidType(
            f"a {type(self).__name__} cannot be pickled or copied: it has open files; "
            "open it where it is used"
        )
