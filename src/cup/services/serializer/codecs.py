"""Codecs: what a log makes of values, and of bytes that it reads.

A log has one codec, which its files name. What is read is decoded by the codec that the
reader was opened with, never by one that a file asks for: unpickling runs what the file
says, so `PICKLE` is for logs that nobody else can write to.
"""

from __future__ import annotations

import json
import pickle
from importlib import import_module
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeAlias, TypeVar, cast

from cup.errors import InvalidType, InvalidValue, MissingExtra

from ._core_settings import to_bytes

if TYPE_CHECKING:
    from .api import Codec

__all__ = [
    "BYTES",
    "JSON",
    "PICKLE",
    "BytesCodec",
    "JsonCodec",
    "JsonValue",
    "MsgpackCodec",
    "PickleCodec",
    "msgpack",
]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

JsonValue: TypeAlias = (
    "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"
)

_ANY_SIZE: Final = 1 << 62
# `json.dumps` with options makes an encoder for each call: twice the price.
_as_json: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":")
).encode


class BytesCodec:
    """Leaves bytes as they are."""

    __slots__ = ()

    name = "bytes"

    def encode(self, value: bytes, /) -> bytes:
        """Return the value, as bytes of its own."""
        if value.__class__ is bytes:
            return value
        return to_bytes(value, _ANY_SIZE)

    def decode(self, payload: bytes, /) -> bytes:
        """Return the payload."""
        return payload

    def __repr__(self) -> str:
        return "BYTES"


class JsonCodec:
    """Writes values as JSON, in UTF-8. NaN and infinities are refused."""

    __slots__ = ()

    name = "json"

    def encode(self, value: JsonValue, /) -> bytes:
        """Return the value as JSON."""
        try:
            return _as_json(value).encode()
        except TypeError as error:
            raise InvalidType(f"{value!r} is no JSON: {error}") from None
        except (ValueError, RecursionError) as error:
            raise InvalidValue(f"this value is no JSON: {error}") from None

    def decode(self, payload: bytes, /) -> JsonValue:
        """Return the value of JSON."""
        return cast("JsonValue", json.loads(payload))

    def __repr__(self) -> str:
        return "JSON"


class PickleCodec:
    """Pickles objects. Unpickling runs whatever the file says."""

    __slots__ = ()

    name = "pickle"

    def encode(self, value: object, /) -> bytes:
        """Return the object as a pickle."""
        return pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)

    def decode(self, payload: bytes, /) -> object:
        """Return the object of a pickle."""
        return cast("object", pickle.loads(payload))  # noqa: S301 - asked for by name

    def __repr__(self) -> str:
        return "PICKLE"


class _Encoder(Protocol):
    def encode(self, value: object, /) -> bytes: ...


class _Decoder(Protocol[T_co]):
    def decode(self, payload: bytes, /) -> T_co: ...


class _MsgspecModule(Protocol):
    """What is used of msgspec.msgpack."""

    def Encoder(self) -> _Encoder: ...  # noqa: N802 - its name

    def Decoder(self, kind: type[T], /) -> _Decoder[T]: ...  # noqa: N802 - its name


class MsgpackCodec(Generic[T]):
    """Writes values of one type as MessagePack, and checks the type on reading."""

    __slots__ = ("_decoder", "_encoder", "_type")

    name = "msgpack"

    def __init__(self, kind: type[T], module: _MsgspecModule) -> None:
        self._type = kind
        self._encoder: _Encoder = module.Encoder()
        self._decoder: _Decoder[T] = module.Decoder(kind)

    def encode(self, value: T, /) -> bytes:
        """Return the value as MessagePack."""
        return self._encoder.encode(value)

    def decode(self, payload: bytes, /) -> T:
        """Return the value of MessagePack, which must be of the type."""
        return self._decoder.decode(payload)

    def __repr__(self) -> str:
        return f"msgpack({self._type.__name__})"


BYTES: Final = BytesCodec()
"""Payloads are bytes, and stay as they are."""

JSON: Final = JsonCodec()
"""Payloads are what JSON can say."""

PICKLE: Final = PickleCodec()
"""Payloads are objects. Only for files that nobody else can write to."""


def msgpack(kind: type[T]) -> Codec[T]:
    """Return a codec for values of one type, which is checked on reading.

    Args:
        kind: A type that msgspec knows: a `msgspec.Struct`, a dataclass, a `TypedDict`,
            `dict`, `list` ...

    Raises:
        MissingExtra: If msgspec is not installed.
    """
    try:
        module = import_module("msgspec.msgpack")
    except ImportError:
        raise MissingExtra(
            "msgpack() needs a package: pip install msgspec", requirement="msgspec"
        ) from None
    return MsgpackCodec(kind, cast("_MsgspecModule", module))


if TYPE_CHECKING:
    _bytes: Codec[bytes] = BYTES
    _json: Codec[JsonValue] = JSON
    _pickle: Codec[object] = PICKLE
