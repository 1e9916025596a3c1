"""`cup log verify` and `cup log repair`: findings, in words or as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from cup.services.serializer import repair, verify

from ._log_progress import make_progress

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterable

    from cup.services.serializer import Finding

__all__ = ["repair_log", "verify_log"]

_LOSSES: Final = {"checkpoint", "damage", "header", "missing"}
_MB: Final = 1e6


def verify_log(args: Namespace) -> int:
    """Check every byte of a log.

    Args:
        args: What was parsed: `directory`, `json`, `max_record`.

    Returns:
        The exit status.
    """
    with make_progress("verified") as progress:
        report = verify(args.directory, max_record=args.max_record, progress=progress)
    if args.json:
        document = {**asdict(report), "ok": report.ok, "lost": report.lost}
        print(json.dumps(document, indent=2))
        return _status(report.findings)

    for finding in report.findings:
        print(_as_line(finding))
    verdict = "ok" if report.ok else f"{len(report.findings)} findings"
    lost = f", {_count(report.lost, 'record')} lost" if report.lost else ""
    live = "; it is being written to" if report.live else ""
    print(
        f"{verdict}{lost}: {_range(report.first_id, report.next_id)}, "
        f"{_count(report.segments, 'file')}, {report.size / _MB:.1f} MB, "
        f"{_count(report.checkpoints, 'checkpoint')}{live}"
    )
    return _status(report.findings)


def repair_log(args: Namespace) -> int:
    """Mend a log.

    Args:
        args: What was parsed: `directory`, `json`, `max_record`, `salvage`.

    Returns:
        The exit status: 1 if records are lost.
    """
    with make_progress("checked") as progress:
        report = repair(
            args.directory,
            salvage=args.salvage,
            max_record=args.max_record,
            progress=progress,
        )
    if args.json:
        print(json.dumps({**asdict(report), "lost": report.lost}, indent=2))
        return 1 if report.lost else 0

    for finding in report.findings:
        print(_as_line(finding))
    for path in report.rebuilt:
        print(f"rebuilt  {path}")
    for path in report.quarantined:
        print(f"kept     {path}")
    verdict = "mended" if report.findings else "nothing to mend"
    lost = f"; {_count(report.lost, 'record')} lost" if report.lost else ""
    print(f"{verdict}: {_range(report.first_id, report.next_id)}{lost}")
    return 1 if report.lost else 0


def _status(findings: Iterable[Finding]) -> int:
    kinds = {finding.kind for finding in findings}
    if any(finding.lost for finding in findings) or kinds & _LOSSES:
        return 1
    return 3 if kinds else 0


def _as_line(finding: Finding) -> str:
    lost = ""
    if finding.lost:
        lost = f"; {_range(finding.first_id, finding.stop_id)} lost"
    where = f"{finding.path}:{finding.offset} ({_count(finding.size, 'byte')})"
    return f"{finding.kind:<10} {where}: {finding.reason}{lost}"


def _range(first: int, stop: int) -> str:
    if stop <= first:
        return "no records"
    if stop == first + 1:
        return f"record {first}"
    return f"records {first} to {stop - 1}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
