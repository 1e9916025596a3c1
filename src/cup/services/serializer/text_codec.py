"""The codec of plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cup.errors import InvalidType, InvalidValue

if TYPE_CHECKING:
    from .api import Codec

__all__ = ["TEXT", "TextCodec"]


class TextCodec:
    """Writes text in UTF-8. The order of its bytes is the order of code points."""

    __slots__ = ()

    name = "text"

    def encode(self, value: str, /) -> bytes:
        """Return the text in UTF-8; surrogates are refused."""
        try:
            return _check(value).encode()
        except UnicodeEncodeError as error:
            raise InvalidValue(f"{value!r} is no text of UTF-8: {error}") from None

    def decode(self, payload: bytes, /) -> str:
        """Return the text."""
        return payload.decode()

    def __repr__(self) -> str:
        return "TEXT"


TEXT: Final = TextCodec()
"""Payloads are text."""

if TYPE_CHECKING:
    _text: Codec[str] = TEXT


def _check(value: object) -> str:
    if not isinstance(value, str):
        raise InvalidType(f"{value!r} is no text; use str, or open with another codec")
    return value
