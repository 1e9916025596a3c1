"""What reading has in common, whoever reads: decoding, and the extent of foreign logs.

Not here: going through files (`_core_cursor`).
"""

from __future__ import annotations

from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, TypeVar, cast

from cup.errors import LogClosed, UnsupportedFormat

from ._core_checkpoint import latest_checkpoint
from ._core_cursor import Cursor
from ._core_extent import Extent
from ._core_folder import list_places, read_header
from ._core_settings import check_id
from .api import Checkpoint, Record
from .codecs import BYTES, BytesCodec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from typing_extensions import Self

    from cup._core.disk import Disk

    from .api import Codec

__all__ = [
    "Decoder",
    "Encoder",
    "ReaderCore",
    "Source",
    "Watch",
    "decoder_of",
    "encoder_of",
]

T = TypeVar("T")

_FASTEST: Final = 0.001  # seconds between two looks at a log that grows
_SLOWEST: Final = 0.016
_SLOWDOWN: Final = 1.25
_REVIEW: Final = 0.25  # seconds between two looks whether anybody writes


Decoder: TypeAlias = "Callable[[list[Record[bytes]]], list[Record[T]]]"
"""Makes values of records' payloads."""


def decoder_of(codec: Codec[T]) -> Decoder[T]:
    """Return what makes values of records' payloads."""
    if isinstance(codec, BytesCodec):
        # It leaves bytes as they are: T is bytes.
        return cast("Decoder[T]", _as_they_are)
    decode = codec.decode

    def decode_all(records: list[Record[bytes]]) -> list[Record[T]]:
        return [
            Record(number, decode(payload), kind, mode)
            for number, payload, kind, mode in records
        ]

    return decode_all


Encoder: TypeAlias = "Callable[[Iterable[T]], Iterable[bytes]]"
"""Makes payloads of values."""


def encoder_of(codec: Codec[T]) -> Encoder[T]:
    """Return what makes payloads of values."""
    if isinstance(codec, BytesCodec):
        # Values are bytes, and are looked at where records are made of them.
        return cast("Encoder[T]", _as_it_is)
    return partial(map, codec.encode)


def _as_it_is(payloads: Iterable[bytes]) -> Iterable[bytes]:
    return payloads


def _as_they_are(records: list[Record[bytes]]) -> list[Record[bytes]]:
    return records


class Source(Protocol):
    """What is read: a log that is open here, or one that others may write."""

    @property
    def first_id(self) -> int:
        """The first record that there is, or will be."""
        ...

    def extent(self) -> int:
        """Return the id behind the last record that may be read."""
        ...

    def cursor(self, start: int | None, /) -> Cursor:
        """Return a place to read from."""
        ...

    def latest_checkpoint(self) -> Checkpoint | None:
        """Return the last state that was stored."""
        ...

    def describe(self) -> str:
        """Say what and where it is."""
        ...


class ReaderCore:
    """A log that somebody else may be writing: what the two readers share.

    Args:
        folder: Its directory, absolute.
        disk: Where that is.
        max_record: The largest record, in bytes.
        codec: The name of the codec that payloads are decoded with.

    Raises:
        UnsupportedFormat: If they have another codec, and are not to be read as bytes.
        OSError: If the directory cannot be read.
    """

    __slots__ = ("_disk", "_extent", "_folder", "_max_record", "closed")

    def __init__(self, folder: str, disk: Disk, max_record: int, codec: str) -> None:
        self._folder = folder
        self._disk = disk
        self._max_record = max_record
        self._extent = Extent(disk, folder, max_record)
        self.closed: bool = False
        disk.listdir(folder)  # raises if there is no such directory
        if codec != BYTES.name:
            self._check_codec(codec)

    def _check_codec(self, codec: str) -> None:
        for place in list_places(self._disk, self._folder)[-1:]:
            file = self._disk.open(place.path)
            try:
                known = read_header(file, place).codec
            finally:
                file.close()
            if known != codec:
                raise UnsupportedFormat(
                    f"{self._folder}: its payloads are {known!r}, not {codec!r}; read "
                    f"it with that codec, or as bytes"
                )

    @property
    def first_id(self) -> int:
        """The first record that there is, or will be."""
        places = list_places(self._disk, self._folder)
        return places[0].first_id if places else 1

    def extent(self) -> int:
        """Return the id behind the last record that may be read."""
        self.check()
        return self._extent.measure()

    def cursor(self, start: int | None) -> Cursor:
        """Return a place to read from."""
        self.check()
        if start is not None:
            check_id("start", start)
        return Cursor(
            self._disk, self._folder, start=start, max_record=self._max_record
        )

    def watch(self) -> Watch:
        """Return what looks for records that come."""
        self.check()
        return Watch(Extent(self._disk, self._folder, self._max_record))

    def latest_checkpoint(self) -> Checkpoint | None:
        """Return the last state that was stored."""
        self.check()
        return latest_checkpoint(self._disk, self._folder)

    def check(self) -> None:
        """Refuse to read after the end.

        Raises:
            LogClosed: If it is closed.
        """
        if self.closed:
            raise LogClosed(f"{self._folder}: this reader is closed")

    def describe(self) -> str:
        """Say what and where it is."""
        return f"{self._folder!r} {'closed' if self.closed else 'open'}"

    def close(self) -> None:
        """Close its files; who follows the log ends."""
        self.closed = True
        self._extent.close()


class Watch:
    """Looks for records that come, often while they do, seldom while they do not.

    Attributes:
        limit: The id behind the last record that may be read.
        interval: Seconds to wait before the next look.
    """

    __slots__ = ("_extent", "_review_at", "interval", "limit")

    def __init__(self, extent: Extent) -> None:
        self._extent = extent
        self._review_at = 0.0
        self.limit: int = 0
        self.interval: float = _FASTEST

    def look(self) -> bool:
        """Tell whether there is more than there was."""
        limit = self._extent.glance()
        now = monotonic()
        if limit <= self.limit and now >= self._review_at:
            limit = self._extent.measure()
            self._review_at = now + _REVIEW
        if limit > self.limit:
            self.limit = limit
            self.interval = _FASTEST
            return True

        self.interval = min(self.interval * _SLOWDOWN, _SLOWEST)
        return False

    def close(self) -> None:
        """Close its files."""
        self._extent.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
