"""Checking all files of a log, without changing anything.

Not here: going through records (`_core_salvage`), mending (`_core_repair`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._core_checkpoint import list_checkpoints, read_checkpoint
from ._core_folder import DURABLE, Mark, list_places
from ._core_lock import is_written
from ._core_salvage import Part, missing, salvage
from ._core_walk import NO_LIMIT
from .api_values import Finding, VerifyReport

if TYPE_CHECKING:
    from collections.abc import Callable

    from cup._core.disk import Disk

    from ._core_folder import Place
    from .api_values import FindingKind

__all__ = ["inspect_log"]


def inspect_log(
    disk: Disk,
    folder: str,
    max_record: int,
    progress: Callable[[int, int], object] | None,
    *,
    alone: bool = False,
) -> VerifyReport:
    """Check all files of a log.

    Args:
        disk: Where it is.
        folder: Its directory, absolute.
        max_record: The largest record, in bytes.
        progress: Told the bytes that were checked, and all bytes.
        alone: Whether the caller has the lock.

    Raises:
        FileNotFoundError: If there is no such directory.
        UnsupportedFormat: If a later version wrote it.
        RecordTooLarge: If a record has more than `max_record` bytes.
        OSError: If it cannot be read.
    """
    mark = Mark(disk, folder)
    try:
        live = not alone and is_written(disk, folder)
        durable = mark.read()
    finally:
        mark.close()
    places = list_places(disk, folder, whole=False)
    survey = _Survey(disk, places, progress)
    limit = durable if live else NO_LIMIT
    survey.go(limit, max_record)
    findings = survey.findings
    if survey.next_id < durable:
        findings.append(missing(folder, survey.next_id, durable))
    findings += _check_mark(disk, folder, durable)
    checkpoints, damaged = _check_checkpoints(disk, folder)
    return VerifyReport(
        directory=folder,
        live=live,
        segments=len(places),
        records=survey.records,
        size=survey.size,
        first_id=places[0].first_id if places else max(1, durable),
        next_id=max(survey.next_id, durable),
        checkpoints=checkpoints,
        findings=(*findings, *damaged),
    )


class _Survey:
    """Goes through the segments and keeps account."""

    def __init__(
        self,
        disk: Disk,
        places: list[Place],
        progress: Callable[[int, int], object] | None,
    ) -> None:
        self._disk = disk
        self._places = places
        self._progress = progress
        self._total = sum(disk.size(place.path) for place in places)
        self._before = 0
        self.findings: list[Finding] = []
        self.records: int = 0
        self.size: int = 0
        self.next_id: int = places[0].first_id if places else 1

    def go(self, limit: int, max_record: int) -> None:
        """Look at everything before the record `limit`."""
        part: Part | None = None
        for now, found in salvage(self._disk, self._places, limit, max_record):
            if part is not None and part.place != now.place:
                self._before += self._disk.size(part.place.path)
            part = now
            if isinstance(found, Finding):
                self.findings.append(found)
                self.next_id = max(self.next_id, found.stop_id)
            else:
                self.records += len(found)
                self.size += sum([len(record.payload) for record in found])
            if now.walk is not None:
                self.next_id = max(self.next_id, now.walk.whole[0])
                self._tell(self._before + now.walk.offset)
        self._tell(self._total)

    def _tell(self, done: int) -> None:
        if self._progress is not None:
            self._progress(done, max(self._total, done))


def _check_mark(disk: Disk, folder: str, durable: int) -> list[Finding]:
    path = f"{folder}/{DURABLE}"
    if durable or not disk.exists(path):
        return []

    size = disk.size(path)
    reason = "the durable mark is damaged; opening the log for writing renews it"
    return [_helper("mark", path, size, reason)]


def _check_checkpoints(disk: Disk, folder: str) -> tuple[int, list[Finding]]:
    """Return how many checkpoints are good, and the others."""
    good = 0
    findings: list[Finding] = []
    for at_id, path in list_checkpoints(disk, folder):
        if read_checkpoint(disk, path, at_id) is not None:
            good += 1
        else:
            reason = "the checkpoint is damaged"
            findings.append(_helper("checkpoint", path, disk.size(path), reason))
    return good, findings


def _helper(kind: FindingKind, path: str, size: int, reason: str) -> Finding:
    return Finding(
        kind=kind,
        path=path,
        offset=0,
        size=size,
        first_id=0,
        stop_id=0,
        reason=reason,
    )
