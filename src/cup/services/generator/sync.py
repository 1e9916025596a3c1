"""Generators of unique names and numbers, for threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._core import GeneratorCore, Source, the_only_source, warn_of_other_prefix

if TYPE_CHECKING:
    from typing_extensions import Self

    from .aio import AsyncCGeneratorMan, AsyncCGeneratorManBase
    from .api import GeneratorManAPI

__all__ = ["CGeneratorMan", "CGeneratorManBase"]


class CGeneratorManBase(GeneratorCore):
    """Generate unique names, numbers and random texts.

    Several may live in one process: their names differ, their numbers count on their
    own. All methods are thread-safe, never wait, and may be called from signal
    handlers. A forked child goes on with the same object and repeats nothing.

    Args:
        str_prefix: What names begin with; "localhost" means the name of this host.

    Raises:
        InvalidType: If the prefix is no text.
    """

    __slots__ = ()

    def __init__(self, str_prefix: str = "localhost") -> None:
        self._look_at(Source(str_prefix))
        self._source.faces[type(self)] = self

    @property
    def aio(self) -> AsyncCGeneratorManBase:
        """The same generator, seen from an event loop."""
        from .aio import AsyncCGeneratorManBase  # noqa: PLC0415 - only who asks pays

        return self._source.face(AsyncCGeneratorManBase)


class CGeneratorMan(CGeneratorManBase):
    """Generate unique names, numbers and random texts: the one of this process.

    Every call returns the same object, with the prefix of the first call. All methods
    are thread-safe, never wait, and may be called from signal handlers. A forked child
    goes on with the same object and repeats nothing.

    Args:
        str_prefix: What names begin with; "localhost", or none given, means the name of
            this host, or in a later call what there is. Another prefix in a later call
            changes nothing and warns.

    Raises:
        InvalidType: If the prefix is no text.
    """

    __slots__ = ()

    def __new__(cls, str_prefix: str = "localhost") -> Self:
        """Return the generator of this process, made at the first call."""
        return the_only_source(str_prefix).exact_face(cls)

    def __init__(self, str_prefix: str = "localhost") -> None:
        warn_of_other_prefix(self, str_prefix)

    @property
    def aio(self) -> AsyncCGeneratorMan:
        """The same generator, seen from an event loop."""
        from .aio import AsyncCGeneratorMan  # noqa: PLC0415 - only who asks pays

        return self._source.face(AsyncCGeneratorMan)


if TYPE_CHECKING:
    _base: GeneratorManAPI = CGeneratorManBase()
    _only: GeneratorManAPI = CGeneratorMan()
