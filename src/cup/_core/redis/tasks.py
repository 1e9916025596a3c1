"""A server, asked from tasks by way of coredis, on asyncio and trio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from anyio import fail_after

from cup.errors import StoreUnreachable

from . import as_texts, load, shown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence
    from types import TracebackType

    from typing_extensions import Self

__all__ = ["Server"]


class _Client(Protocol):
    """What is used of `coredis.Redis`."""

    def eval(
        self, script: str, keys: Sequence[str], args: Sequence[str]
    ) -> Awaitable[object]: ...

    async def __aenter__(self) -> object: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> bool | None: ...


class Server:
    """A Redis or Valkey server; asked inside of `async with`.

    Args:
        url: Its address: `redis://`, `rediss://` or `unix://`.
        timeout: Seconds that a connection or an answer may take.
        what: What needs it, for messages.

    Raises:
        MissingExtra: If coredis is not installed.
    """

    __slots__ = ("_client", "_errors", "_timeout", "_url", "_what")

    def __init__(self, url: str, timeout: float, what: str) -> None:
        coredis = load("coredis", what)
        client: _Client = coredis.Redis.from_url(url, verify_version=False)
        errors: type[Exception] = coredis.exceptions.RedisError
        self._client: _Client = client
        self._errors: type[Exception] = errors
        self._url: str = url
        self._timeout: float = timeout
        self._what: str = what

    async def run(
        self, script: str, keys: Sequence[str], *args: str | int
    ) -> list[str]:
        """Run a script, and return what it returned.

        Raises:
            StoreUnreachable: If the server does not answer in time, or refuses.
        """
        try:
            with fail_after(self._timeout):
                reply = await self._client.eval(
                    script, keys, [str(arg) for arg in args]
                )
        except (self._errors, OSError) as error:  # a TimeoutError is an OSError
            server = f"the server at {shown(self._url)}"
            raise StoreUnreachable(
                f"{self._what}: {server} does not answer: {error!r}"
            ) from error
        return as_texts(reply)

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await self._client.__aexit__(kind, error, traceback)
