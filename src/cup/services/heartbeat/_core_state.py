"""What a monitor knows, in a file: so that it can be restarted without a storm.

A line of JSON that says what it is, then lines of a thousand agents each. Not here: how
a file is written whole (`_core_files`).
"""

from __future__ import annotations

import json
import logging
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from cup.errors import HeartbeatError

from ._core_peers import Peer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from os import PathLike

    from ._core_hearing import Hearing
    from ._core_judge import JudgedRegistry
    from ._core_peers import Address

    _Stored = list[object]
    _Record = tuple[str, bytes, float, float | None, bool, Address]

__all__ = ["Restored", "dump", "load_into"]

_log = logging.getLogger("cup.heartbeat")

_FORMAT: Final = "cup heartbeat 1"
_AT_ONCE: Final = 1000


class Restored(NamedTuple):
    """One device of a registry that is to be restored."""

    key: str
    silent: float
    timeout: float | None
    lost: bool


def dump(registry: JudgedRegistry, hearing: Hearing, wall: float) -> Iterator[str]:
    """Give the lines of a state file; any thread may."""
    number, found = registry.states()
    head = {"format": _FORMAT, "saved": wall, "events": number}
    yield json.dumps(head) + "\n"

    records = iter(_records(found, hearing, wall))
    while chunk := list(islice(records, _AT_ONCE)):
        yield json.dumps(chunk, separators=(",", ":")) + "\n"


def _records(
    found: Iterable[Restored], hearing: Hearing, wall: float
) -> Iterator[list[object]]:
    for key, silent, timeout, lost in found:
        peer = hearing.peers.find(key)
        order = "" if peer is None else peer.order.hex()
        address = [] if peer is None else [*peer.address]
        yield [key, order, round(wall - silent, 3), timeout, lost, address]


def load_into(
    path: str | PathLike[str],
    registry: JudgedRegistry,
    hearing: Hearing,
    wall: float,
) -> int:
    """Take in a state file; return how many agents it has, 0 if there is no file.

    Who was alive has a full time-out to beat again. What cannot be read is reported in
    the log, and left out: a monitor that does not start watches nobody.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return 0
    except (OSError, ValueError) as error:
        _log.error("the state of the monitor cannot be read: %s", error)
        return 0

    try:
        number, records = _parse(text)
    except (HeartbeatError, ValueError, TypeError, KeyError, IndexError) as error:
        _log.error("the state of the monitor in %s is damaged: %r", path, error)
        return 0

    restored: list[Restored] = []
    for key, order, healthy, timeout, lost, address in records:
        restored.append(Restored(key, max(0.0, wall - healthy), timeout, lost))
        if order:
            peer = Peer(key, order)
            peer.address = address
            hearing.peers.by_name[key.encode(errors="replace")] = peer
    registry.restore(restored, number)
    return len(restored)


def _parse(text: str) -> tuple[int, list[_Record]]:
    lines = text.splitlines()
    head = cast("dict[str, object]", json.loads(lines[0]))
    if head["format"] != _FORMAT:
        raise HeartbeatError(f"the format is {head['format']!r}, not {_FORMAT!r}")

    records = [
        _record(*record)
        for line in lines[1:]
        for record in cast("list[_Stored]", json.loads(line))
    ]
    return int(str(head["events"])), records


def _record(*stored: object) -> _Record:
    key, order, healthy, timeout, lost, address = stored
    parts = cast("list[object]", address)
    host, port = (str(parts[0]), int(str(parts[1]))) if parts else ("", 0)
    place: Address = (host, port)
    if len(parts) == 4:  # noqa: PLR2004 - an address of IPv6
        place = (host, port, int(str(parts[2])), int(str(parts[3])))
    return (
        str(key),
        bytes.fromhex(str(order)),
        float(str(healthy)),
        None if timeout is None else float(str(timeout)),
        bool(lost),
        place,
    )
