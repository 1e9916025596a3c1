"""`cup log tail` and `cup log dump`: records, as lines or as JSON.

Payloads are shown as text where they are text. Nothing is decoded: a codec could run
code.
"""

from __future__ import annotations

import json
from base64 import b64encode
from typing import TYPE_CHECKING

from cup.services.serializer import LogReader

from ._log_state import dump_state

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterable

    from cup.services.serializer import Record

__all__ = ["dump", "tail"]


def tail(args: Namespace) -> int:
    """Print the last records, and those to come.

    Args:
        args: What was parsed: `directory`, `json`, `max_record`, `n`, `follow`,
            `timeout`.

    Returns:
        The exit status.
    """
    if args.n < 0:
        args.parser.error(f"-n is {args.n}; give 0 or more")

    with LogReader[bytes].open(args.directory, max_record=args.max_record) as reader:
        start = max(reader.first_id, reader.durable_id + 1 - args.n)
        if args.follow:
            records = reader.follow(start, timeout=args.timeout)
        else:
            records = reader.records(start)
        _print(records, as_json=args.json)
    return 0


def dump(args: Namespace) -> int:
    """Print records.

    Args:
        args: What was parsed: `directory`, `json`, `max_record`, `start`, `last`,
            `state`.

    Returns:
        The exit status.
    """
    if args.state:
        return dump_state(args)

    stop = None if args.last is None else args.last + 1
    with LogReader[bytes].open(args.directory, max_record=args.max_record) as reader:
        _print(reader.records(args.start, stop), as_json=args.json)
    return 0


def _print(records: Iterable[Record[bytes]], *, as_json: bool) -> None:
    show = _as_json if as_json else _as_line
    for record in records:
        print(show(record), flush=True)


def _as_line(record: Record[bytes]) -> str:
    text = _as_text(record.payload)
    shown = repr(record.payload) if text is None else text
    return f"{record.id}\t{record.type}\t{record.mode}\t{shown}"


def _as_json(record: Record[bytes]) -> str:
    document: dict[str, object] = {
        "id": record.id,
        "type": record.type,
        "mode": record.mode,
    }
    text = _as_text(record.payload)
    if text is None:
        document["base64"] = b64encode(record.payload).decode("ascii")
    else:
        document["text"] = text
    return json.dumps(document)


def _as_text(payload: bytes) -> str | None:
    """Return a payload as one line of text, if it is that."""
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() else None
