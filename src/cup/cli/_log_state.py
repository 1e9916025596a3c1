"""`cup log dump --state`: what the records of a store of metadata amount to.

Values are shown as text where they are text. Nothing is decoded: a codec could run
code.
"""

from __future__ import annotations

import json
from base64 import b64encode
from typing import TYPE_CHECKING

from cup.services.serializer import read_state

if TYPE_CHECKING:
    from argparse import Namespace

    from cup.services.serializer import StoreState, UnknownEntry

__all__ = ["dump_state"]


def dump_state(args: Namespace) -> int:
    """Print the state of a store, key by key.

    Args:
        args: What was parsed: `directory`, `json`, `max_record`.

    Returns:
        The exit status.
    """
    state = read_state(args.directory, max_record=args.max_record)
    if args.json:
        print(json.dumps(_document(state)))
    else:
        _print(state)
    return 0


def _print(state: StoreState) -> None:
    print(
        f"{state.directory}: {len(state.entries)} entries before change "
        f"{state.next_id}, schema {state.schema}, keys are {state.key_codec}, values "
        f"are {state.value_codec}"
    )
    for key, value in state.entries:
        print(f"{_shown(key)}\t{_shown(value)}")
    for entry in state.unknown:
        print(f"unknown: {_reason(entry)}\t{_shown(entry.value)}")


def _shown(content: bytes) -> str:
    text = _as_text(content)
    return repr(content) if text is None else text


def _reason(entry: UnknownEntry) -> str:
    key = "" if entry.key is None else f"{_shown(entry.key)}: "
    return f"{key}{entry.reason}"


def _document(state: StoreState) -> dict[str, object]:
    return {
        "directory": state.directory,
        "schema": state.schema,
        "key_codec": state.key_codec,
        "value_codec": state.value_codec,
        "next_id": state.next_id,
        "entries": [
            {"key": _plain(key), "value": _plain(value)} for key, value in state.entries
        ],
        "unknown": [
            {
                "key": None if entry.key is None else _plain(entry.key),
                "value": _plain(entry.value),
                "reason": entry.reason,
            }
            for entry in state.unknown
        ],
    }


def _plain(content: bytes) -> dict[str, str]:
    text = _as_text(content)
    if text is None:
        return {"base64": b64encode(content).decode("ascii")}
    return {"text": text}


def _as_text(content: bytes) -> str | None:
    """Return bytes as one line of text, if they are that."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() else None
