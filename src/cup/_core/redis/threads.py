"""A server, asked from threads by way of redis-py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from cup._core import fork
from cup.errors import StoreUnreachable

from . import as_texts, load, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Server"]


class _Pool(Protocol):
    """What is used of `redis.ConnectionPool`."""

    def disconnect(self) -> None: ...


class _Client(Protocol):
    """What is used of `redis.Redis`."""

    @property
    def connection_pool(self) -> _Pool: ...

    def eval(self, script: str, numkeys: int, /, *keys_and_args: str) -> object: ...

    def close(self) -> None: ...


class Server:
    """A Redis or Valkey server.

    Args:
        url: Its address: `redis://`, `rediss://` or `unix://`.
        timeout: Seconds that a connection or an answer may take.
        what: What needs it, for messages.

    Raises:
        MissingExtra: If redis-py is not installed.
    """

    __slots__ = ("_client", "_errors", "_generation", "_timeout", "_url", "_what")

    def __init__(self, url: str, timeout: float, what: str) -> None:
        self._url: str = url
        self._timeout: float = timeout
        self._what: str = what
        self._connect()

    def _connect(self) -> None:
        redis = load("redis", self._what)
        retry = load("redis.retry", self._what).Retry(
            load("redis.backoff", self._what).NoBackoff(), 0
        )
        client: _Client = redis.Redis.from_url(
            self._url,
            socket_timeout=self._timeout,
            socket_connect_timeout=self._timeout,
            retry=retry,  # who asks tries again, and knows when it is too late
        )
        errors: type[Exception] = redis.RedisError
        self._client: _Client = client
        self._errors: type[Exception] = errors
        self._generation: int = fork.generation()

    def run(self, script: str, keys: Sequence[str], *args: str | int) -> list[str]:
        """Run a script, and return what it returned.

        Raises:
            StoreUnreachable: If the server does not answer in time, or refuses.
        """
        if self._generation != fork.generation():
            self._connect()  # the connections are the parent's
        try:
            reply = self._client.eval(script, len(keys), *keys, *map(str, args))
        except (self._errors, OSError) as error:
            server = f"the server at {shown(self._url)}"
            raise StoreUnreachable(
                f"{self._what}: {server} does not answer: {error}"
            ) from error
        return as_texts(reply)

    def close(self) -> None:
        """Close the connections."""
        if self._generation == fork.generation():
            self._client.close()
            self._client.connection_pool.disconnect()  # older clients leave it open
