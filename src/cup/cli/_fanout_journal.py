"""What was delivered where, in a durable log, so that a later run skips it.

One record for each delivery: the checksum of the archive, the destination, the time.
For a destination the last one counts.
"""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cup.services.serializer import JSON, JsonValue, Log, LogReader

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cup.services.serializer import Record

    from ._fanout_places import Place

__all__ = ["Journal", "is_there", "read_journal"]

_SEGMENT: Final = 1 << 20


class Journal:
    """Takes down what is delivered. Thread-safe.

    Args:
        directory: Where it is; made if there is none.

    Raises:
        LogError: If another run writes to it, or it is damaged.
        OSError: If the disk fails.
    """

    def __init__(self, directory: str) -> None:
        self._log: Log[JsonValue] = Log.open(
            directory, codec=JSON, segment_bytes=_SEGMENT, preallocate=False
        )
        self.done: dict[str, str] = _last_contents(self._log.records())

    def note(self, place: Place, content: str) -> None:
        """Take down that something was delivered; durable when this returns.

        Args:
            place: Where to.
            content: The checksum of the archive.

        Raises:
            LogError: If it cannot be written.
        """
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self._log.append({"to": place.key, "content": content, "at": now})

    def close(self) -> None:
        """End."""
        self._log.close()


def read_journal(directory: str) -> dict[str, str]:
    """Return what was delivered last, by destination, and change nothing.

    Args:
        directory: Where the journal is; one that is not there says nothing.

    Raises:
        LogError: If it is damaged.
        OSError: If it cannot be read.
    """
    if not Path(directory).is_dir():
        return {}
    with LogReader.open(directory, codec=JSON) as reader:
        return _last_contents(reader.records())


def is_there(place: Place, content: str, done: dict[str, str]) -> bool:
    """Tell whether a folder was delivered, and is there still as far as can be seen.

    Args:
        place: Where to.
        content: The checksum of the archive.
        done: What was delivered, by destination.
    """
    if done.get(place.key) != content:
        return False
    return bool(place.host) or Path(place.path).is_dir()


def _last_contents(records: Iterable[Record[JsonValue]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for record in records:
        match record.payload:
            case {"to": str(place), "content": str(content)}:
                found[place] = content
            case _:
                pass  # of a later version
    return found
