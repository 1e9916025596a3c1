"""What a store of metadata is opened with: checked once, before anything is touched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cup.errors import InvalidType, InvalidValue

from ._core_settings import MAX_RECORD, Settings
from .api_meta import Compaction
from .api_values import SYNC

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .api_meta import MetaOptions

__all__ = ["MetaSettings", "check_schema"]

_SEGMENT: Final = 8 * 1024 * 1024
_BY_ITSELF: Final = Compaction()


@dataclass(frozen=True, slots=True)
class MetaSettings:
    """How a store is kept.

    Attributes:
        log: How its log is written.
        compaction: When it is compacted; None for by hand only.
    """

    log: Settings
    compaction: Compaction | None

    @classmethod
    def of(cls, **options: Unpack[MetaOptions]) -> MetaSettings:
        """Check what was given.

        Raises:
            InvalidType: If something has the wrong type, or is no option.
            InvalidValue: If a value makes no sense.
            MissingExtra: If the checksum needs a package.
        """
        known = {*MetaOptionsKeys}
        if strange := {*options} - known:
            raise InvalidType(
                f"no such option: {', '.join(sorted(strange))}; there are "
                f"{', '.join(sorted(known))}"
            )
        compaction = _check_compaction(options.get("compaction", _BY_ITSELF))
        durability = options.get("durability", SYNC)
        log = Settings.of(
            segment_bytes=options.get("segment_bytes", _SEGMENT),
            max_record=options.get("max_record", MAX_RECORD),
            durability=durability,
            checksum=options.get("checksum", "auto"),
            on_torn="cut",
            preallocate=options.get("preallocate", True),
            lock_timeout=options.get("lock_timeout", 0),
            disk=options.get("disk"),
        )
        if not durability.waits:
            raise InvalidValue(
                "durability=BUFFERED: what a store has changed is durable; use SYNC or "
                "group(seconds)"
            )
        return cls(log, compaction)


MetaOptionsKeys: Final = (
    "checksum",
    "compaction",
    "disk",
    "durability",
    "lock_timeout",
    "max_record",
    "preallocate",
    "segment_bytes",
)


def _check_compaction(value: object) -> Compaction | None:
    if value is not None and not isinstance(value, Compaction):
        raise InvalidType(f"compaction={value!r}: use Compaction(...) or None")
    return value


def check_schema(schema: object) -> int:
    """Return the version of a schema.

    Raises:
        InvalidType: If it is no int.
        InvalidValue: If it is not positive.
    """
    if not isinstance(schema, int):
        raise InvalidType(f"schema={schema!r}: it is an int")
    if schema < 1:
        raise InvalidValue(f"schema={schema}: versions begin with 1")
    return schema
