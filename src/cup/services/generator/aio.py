"""Generators of unique names and numbers, for event loops.

Their methods never wait, so they are plain methods: those of the sync twins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._core import GeneratorCore, Source, the_only_source, warn_of_other_prefix

if TYPE_CHECKING:
    from typing_extensions import Self

    from .api import AsyncGeneratorManAPI
    from .sync import CGeneratorMan, CGeneratorManBase

__all__ = ["AsyncCGeneratorMan", "AsyncCGeneratorManBase"]


class AsyncCGeneratorManBase(GeneratorCore):
    """Generate unique names, numbers and random texts.

    Twin of `CGeneratorManBase`.
    """

    __slots__ = ()

    def __init__(self, str_prefix: str = "localhost") -> None:
        self._look_at(Source(str_prefix))
        self._source.faces[type(self)] = self

    @property
    def sync(self) -> CGeneratorManBase:
        """The same generator, seen from threads."""
        from .sync import CGeneratorManBase  # noqa: PLC0415 - the twins know each other

        return self._source.face(CGeneratorManBase)


class AsyncCGeneratorMan(AsyncCGeneratorManBase):
    """Generate unique names, numbers and random texts: the one of this process.

    Twin of `CGeneratorMan`: both are faces of one generator.
    """

    __slots__ = ()

    def __new__(cls, str_prefix: str = "localhost") -> Self:
        """Return the generator of this process, made at the first call."""
        return the_only_source(str_prefix).exact_face(cls)

    def __init__(self, str_prefix: str = "localhost") -> None:
        warn_of_other_prefix(self, str_prefix)

    @property
    def sync(self) -> CGeneratorMan:
        """The same generator, seen from threads."""
        from .sync import CGeneratorMan  # noqa: PLC0415 - the twins know each other

        return self._source.face(CGeneratorMan)


if TYPE_CHECKING:
    _base: AsyncGeneratorManAPI = AsyncCGeneratorManBase()
    _only: AsyncGeneratorManAPI = AsyncCGeneratorMan()
