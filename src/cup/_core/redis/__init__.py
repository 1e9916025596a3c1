"""Redis and Valkey, as services use them: scripts that run on the server as a whole.

`threads` wraps redis-py, `tasks` wraps coredis; either package is loaded when a server
is first asked for. Everything that a server or its client raises becomes
`StoreUnreachable`. Not here: what the scripts do, which belongs to the services.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from cup.errors import MissingExtra

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["as_texts", "load", "shown"]

_REQUIREMENT = "redis coredis"


def load(name: str, what: str) -> ModuleType:
    """Import the client library.

    Its own types say little (each answer may be awaitable or not), so the wrappers
    give it the interface that they use.

    Raises:
        MissingExtra: If it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingExtra(
            f"{what} needs the package {name!r}: pip install {_REQUIREMENT}",
            requirement=_REQUIREMENT,
        ) from error


def shown(url: str) -> str:
    """Return an address as messages may show it, without user and password."""
    scheme, mark, rest = url.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}"


def as_texts(reply: object) -> list[str]:
    """Return the answer of a script: a list of texts, numbers as their digits."""
    items: list[object] = [*reply] if isinstance(reply, list | tuple) else [reply]
    return [
        item.decode() if isinstance(item, bytes) else "" if item is None else str(item)
        for item in items
    ]
