"""Files that are there whole or not at all: written beside, then put in place.

Not here: what is in them, but for the list of the lost.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cup._core.clock import Clock

    from ._core_tables import Lost

__all__ = ["list_lost", "write_whole"]


def write_whole(path: str | os.PathLike[str], lines: Iterable[str]) -> None:
    """Write a text file, UTF-8, which survives a crash of the system once it is there.

    What is there and is no file, such as a pipe or a device, is written to as it is.

    Raises:
        OSError: If it cannot be written; a file of before is as it was.
    """
    target = Path(path)
    if target.exists() and not target.is_file():
        with target.open("w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(lines)
        return

    target = Path(os.path.realpath(target))  # a link stays, and leads to the new file
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    if sys.platform == "win32":
        return  # it has no such thing

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def list_lost(records: dict[str, Lost], clock: Clock) -> list[str]:
    """Return a line of JSON for each lost device: any key survives that."""
    now, wall = clock.monotonic(), clock.time()
    lines: list[str] = []
    for key, record in records.items():
        healthy = wall - (now - record.pulse.stamp)
        moment = datetime.fromtimestamp(healthy, timezone.utc)
        line: dict[str, object] = {
            "key": key,
            "last_healthy": round(healthy, 6),
            "time": moment.isoformat(timespec="milliseconds"),
        }
        lines.append(_as_line(line))
    return lines


def _as_line(document: dict[str, object]) -> str:
    try:
        text = json.dumps(document, ensure_ascii=False)
        text.encode()
    except UnicodeEncodeError:  # lone surrogates, as in names of files
        text = json.dumps(document)
    return f"{text}\n"
