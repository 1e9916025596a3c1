"""`cup log inspect`: the files of a log, and who writes to it. Records are not read."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cup._core.disk import OS_DISK
from cup.errors import CorruptRecord
from cup.services.serializer._core_checkpoint import list_checkpoints
from cup.services.serializer._core_cursor import read_seal
from cup.services.serializer._core_folder import (
    LOCK,
    Mark,
    Place,
    list_places,
    read_header,
)
from cup.services.serializer._core_lock import is_written
from cup.services.serializer._core_walk import Walk

if TYPE_CHECKING:
    from argparse import Namespace

__all__ = ["inspect"]

_CHECKSUMS: Final = ("crc32", "crc32c")
_NANO: Final = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class _Segment:
    """A file of records, as its header and its seal tell."""

    file: str
    serial: int
    first_id: int
    last_id: int | None  # None while it has no seal
    size: int
    checksum: str = ""
    codec: str = ""
    created: str = ""
    damaged: str = ""


def inspect(args: Namespace) -> int:
    """List the files of a log.

    Args:
        args: What was parsed: `directory`, `json`.

    Returns:
        The exit status.
    """
    folder = args.directory
    places = list_places(OS_DISK, folder, whole=False)
    segments = [_look_at(place) for place in places]
    checkpoints = [number for number, _ in list_checkpoints(OS_DISK, folder)]
    mark = Mark(OS_DISK, folder)
    durable = mark.read() - 1
    mark.close()
    writer = _writer(folder) if is_written(OS_DISK, folder) else ""
    if args.json:
        document: dict[str, object] = {
            "directory": folder,
            "writer": writer or None,
            "durable_id": durable if durable > 0 else None,
            "checkpoints": checkpoints,
            "segments": [asdict(segment) for segment in segments],
        }
        print(json.dumps(document, indent=2))
    else:
        _say_what_is_there(folder, writer, durable, checkpoints, segments)
        _print_table(segments)
    return 1 if any(segment.damaged for segment in segments) else 0


def _say_what_is_there(
    folder: str,
    writer: str,
    durable: int,
    checkpoints: list[int],
    segments: list[_Segment],
) -> None:
    sealed = bool(segments) and segments[-1].last_id is not None
    state = "closed" if sealed else "not closed: its writer has died, or was killed"
    if writer:
        state = f"{writer} writes to it"
    elif not segments:
        state = "no files"
    print(f"{folder}: {state}")
    if durable > 0:
        print(f"durable up to record {durable}")
    if checkpoints:
        print(f"checkpoints at {', '.join(map(str, checkpoints))}")


def _look_at(place: Place) -> _Segment:
    path = Path(place.path)
    file = OS_DISK.open(place.path)
    try:
        size = file.size()
        header = read_header(file, place)
        seal = read_seal(Walk(file, place.path, header, max_record=0))
    except CorruptRecord as error:
        return _Segment(
            file=path.name,
            serial=place.serial,
            first_id=place.first_id,
            last_id=None,
            size=path.stat().st_size,
            damaged=str(error),
        )
    finally:
        file.close()
    created = datetime.fromtimestamp(header.created / _NANO, timezone.utc)
    return _Segment(
        file=path.name,
        serial=place.serial,
        first_id=place.first_id,
        last_id=None if seal is None else seal[0] - 1,
        size=size,
        checksum=_CHECKSUMS[header.checksum],
        codec=header.codec or "bytes",
        created=created.isoformat(timespec="seconds"),
    )


def _writer(folder: str) -> str:
    """Say who has the lock, as its file tells."""
    words = Path(folder, LOCK).read_text("ascii", "replace").split()
    if len(words) < 2:  # noqa: PLR2004 - a process and its host
        return "another process"
    return f"process {words[0]} on {words[1]}"


_COLUMNS: Final = (
    "serial",
    "first id",
    "last id",
    "bytes",
    "checksum",
    "codec",
    "made",
)


def _print_table(segments: list[_Segment]) -> None:
    rows = [_row(segment) for segment in segments]
    if sys.stdout.isatty() and find_spec("rich") is not None:
        from ._log_inspect_rich import print_table  # noqa: PLC0415 - needs the extra

        print_table(_COLUMNS, rows)
        return

    widths = [max(map(len, column)) for column in zip(_COLUMNS, *rows, strict=True)]
    for row in (_COLUMNS, *rows):
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        print("  ".join(cells).rstrip())


def _row(segment: _Segment) -> tuple[str, ...]:
    last = "open" if segment.last_id is None else str(segment.last_id)
    return (
        str(segment.serial),
        str(segment.first_id),
        "DAMAGED" if segment.damaged else last,
        str(segment.size),
        segment.checksum,
        segment.codec,
        segment.created,
    )
