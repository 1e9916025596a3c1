"""Keys of heartbeats: a secret of the cluster, and one for each agent made from it.

A `KeyRing` holds the secrets of a cluster. The first is sent with, all are accepted:
to change a key, first add the new one behind the old everywhere, then put it first,
then drop the old one. No beat is lost on the way.

Each agent beats with a key of its own, derived from the secret and its name. Who steals
that of one agent cannot beat for another; `AgentKeys` is what such an agent needs.

Not here: what a key is used for (`_core_wire`).
"""

from __future__ import annotations

import hashlib
import os
import secrets as randomness
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cup.errors import InvalidKey, InvalidType

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from typing_extensions import Self

__all__ = ["UNAUTHENTICATED", "AgentKeys", "KeyRing", "check_name", "new_key"]

_LEAST: Final = 16
_MOST: Final = 64  # what BLAKE2b takes
_NAME_BYTES: Final = 200
_ID_BYTES: Final = 4
_DERIVE: Final = b"cup hb agent 1"
_IDENTIFY: Final = b"cup hb key id 1"
_AGENT: Final = "agent"


def new_key() -> str:
    """Return a new secret, as text for a file or a variable of the environment."""
    return randomness.token_hex(32)


def check_name(name: str) -> bytes:
    """Return the name of an agent as it is sent.

    Raises:
        InvalidType: If it is no text.
        InvalidKey: If it is empty, too long, or cannot be sent.
    """
    if not hasattr(name, "encode"):
        raise InvalidType(f"the name of an agent must be a text, not {name!r}")
    try:
        encoded = name.encode()
    except UnicodeEncodeError as error:
        raise InvalidKey(f"{name!r} cannot be the name of an agent: {error}") from None
    if not 1 <= len(encoded) <= _NAME_BYTES:
        raise InvalidKey(
            f"the name of an agent has 1 to {_NAME_BYTES} bytes, not {len(encoded)}"
        )
    return encoded


def _key_id(secret: bytes) -> bytes:
    """Return what tells which key a packet is signed with; it gives nothing away."""
    return hashlib.blake2b(key=secret, digest_size=_ID_BYTES, person=_IDENTIFY).digest()


class AgentKeys:
    """The keys of one agent, the first to send with; nobody else's can be made of them.

    Args:
        name: The name of the agent.
        keys: Key id -> key.

    Raises:
        InvalidKey: If there is none, or it has the wrong length.
    """

    __slots__ = ("_keys", "name")

    def __init__(self, name: str, keys: Mapping[bytes, bytes]) -> None:
        check_name(name)
        self.name: str = name
        self._keys: dict[bytes, bytes] = dict(keys)
        if not self._keys:
            raise InvalidKey(f"agent {name!r} has no key")
        for key_id, key in self._keys.items():
            if len(key_id) != _ID_BYTES or not _LEAST <= len(key) <= _MOST:
                raise InvalidKey(f"a key of agent {name!r} has the wrong length")

    def items(self) -> list[tuple[bytes, bytes]]:
        """Return the ids and the keys; the first is to be sent with."""
        return [*self._keys.items()]

    def text(self) -> str:
        """Return the keys as lines of a key file; whoever reads them can beat.

        Raises:
            InvalidKey: If the name cannot stand in such a file.
        """
        if _lines(self.name) != [self.name]:
            raise InvalidKey(
                f"{self.name!r} cannot stand in a key file: it is more than a line, "
                "has a # in it, or blanks at its begin or end"
            )
        return "".join(
            f"{_AGENT} {key_id.hex()} {key.hex()} {self.name}\n"
            for key_id, key in self._keys.items()
        )

    def __repr__(self) -> str:
        return f"<AgentKeys of {self.name!r}, {len(self._keys)} keys>"


class KeyRing:
    """The secrets of a cluster: the first is sent with, all are accepted.

    Args:
        secrets: Each of 16 to 64 bytes, random: `new_key()` makes one.
        label: The name of the cluster; packets of another are refused.

    Raises:
        InvalidType: If a secret is not bytes.
        InvalidKey: If there is none, or one is too short, too long, or repeats itself.
    """

    __slots__ = ("_label", "_secrets", "public")

    def __init__(self, secrets: Iterable[bytes], *, label: str = "default") -> None:
        self._label: str = label
        self.public: bool = False
        self._secrets: dict[bytes, bytes] = {}
        for secret in secrets:
            checked = _check_secret(secret)
            self._secrets[_key_id(checked)] = checked
        if not self._secrets:
            raise InvalidKey("there is no key; new_key() makes one")

    @classmethod
    def from_text(cls, text: str, *, label: str = "default") -> Self:
        """Read secrets: hexadecimal digits, one secret a line; `#` begins a comment.

        Raises:
            InvalidKey: If a line is something else.
        """
        return cls(map(_from_hex, _lines(text)), label=label)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], *, label: str = "default") -> Self:
        """Read secrets from a file, which nobody but its owner may read.

        Raises:
            OSError: If it cannot be read.
            InvalidKey: If others can read it, or it holds something else.
        """
        return cls.from_text(read_private(path), label=label)

    @classmethod
    def from_env(
        cls, name: str = "CUP_HEARTBEAT_KEY", *, label: str = "default"
    ) -> Self:
        """Read secrets from a variable of the environment, separated by commas.

        Raises:
            InvalidKey: If it is not set, or holds something else.
        """
        text = os.environ.get(name)
        if not text:
            raise InvalidKey(f"{name} is not set in the environment; it holds the key")
        return cls.from_text(text.replace(",", "\n"), label=label)

    def agent(self, name: str) -> AgentKeys:
        """Return the keys that one agent beats with.

        Args:
            name: Its name.

        Raises:
            InvalidKey: If it cannot be the name of an agent.
        """
        encoded = check_name(name)
        return AgentKeys(name, {i: self.derive(i, encoded) for i in self._secrets})

    def derive(self, key_id: bytes, name: bytes) -> bytes:
        """Return the key of an agent under one of the secrets.

        Raises:
            KeyError: If this ring does not have the secret.
        """
        label = self._label.encode()
        return hashlib.blake2b(
            len(label).to_bytes(4, "big") + label + name,
            key=self._secrets[key_id],
            digest_size=32,
            person=_DERIVE,
        ).digest()

    def __contains__(self, key_id: object) -> bool:
        return key_id in self._secrets

    def __repr__(self) -> str:
        what = "public" if self.public else f"{len(self._secrets)} secret"
        return f"<KeyRing of {self._label!r}, {what}>"


def _check_secret(secret: object) -> bytes:
    if not isinstance(secret, bytes | bytearray):
        raise InvalidType("a secret must be bytes")  # its value belongs in no message
    secret = bytes(secret)
    if not _LEAST <= len(secret) <= _MOST:
        raise InvalidKey(
            f"a secret has {_LEAST} to {_MOST} bytes, not {len(secret)}; new_key() "
            "makes one"
        )
    if len(set(secret)) < _LEAST // 2:
        raise InvalidKey("a secret repeats itself: it is not random; use new_key()")
    return secret


def _lines(text: str) -> list[str]:
    stripped = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in stripped if line]


def _from_hex(line: str) -> bytes:
    try:
        return bytes.fromhex(line)
    except ValueError:
        raise InvalidKey("a secret is written in hexadecimal digits") from None


def read_private(path: str | os.PathLike[str]) -> str:
    """Return the text of a file that nobody but its owner may read.

    Raises:
        OSError: If it cannot be read.
        InvalidKey: If others can read it, too.
    """
    with Path(path).open(encoding="utf-8") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if sys.platform != "win32" and mode & 0o077:
            raise InvalidKey(f"{path} can be read by others (mode {mode:o}): chmod 600")
        return file.read()


def read_agent_keys(text: str, name: str) -> AgentKeys | None:
    """Return the keys of an agent that a key file holds; None if it holds secrets.

    Raises:
        InvalidKey: If the lines are neither.
    """
    keys: dict[bytes, bytes] = {}
    lines = [line.split(maxsplit=3) for line in _lines(text)]
    ours = [words for words in lines if words[0] == _AGENT]
    if not ours:
        return None
    for words in ours:
        if len(words) != 4:  # noqa: PLR2004 - "agent", key id, key, name
            raise InvalidKey("a line of a key file is: agent ID KEY NAME")
        if words[3] == name:
            keys[_from_hex(words[1])] = _from_hex(words[2])
    return AgentKeys(name, keys)


def _public_ring() -> KeyRing:
    ring = KeyRing([hashlib.sha256(b"cup: no secret").digest()])
    ring.public = True
    return ring


UNAUTHENTICATED: Final = _public_ring()
"""A ring that everybody has. With it, anybody in the network can pose as any agent."""
