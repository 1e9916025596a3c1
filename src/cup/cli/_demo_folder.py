"""A folder with real files, and what is done with it: pack, deliver, compare."""

from __future__ import annotations

import random
import shutil
import tarfile
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Checksums", "checksums", "deliver", "make_folder", "pack"]

Checksums: TypeAlias = "Mapping[str, str]"
"""The SHA-256 of each file of a folder, by its path in there."""

_KIB: Final = 1024


def make_folder(folder: Path, *, files: int, seed: int) -> str:
    """Make a folder with text, noise, zeros and empty files, three levels deep.

    Args:
        folder: Made anew.
        files: How many files it gets.
        seed: What their content is made from.

    Returns:
        What it holds, in words.
    """
    source = random.Random(seed)  # noqa: S311 - the same files each time
    words = [source.randbytes(4).hex().encode() for _ in range(500)]
    total = 0
    for number in range(files):
        kind = ("text", "noise", "zeros", "empty")[number % 4]
        path = folder / f"part {number % 5}" / f"level{number % 3}" / f"{number}.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        total += path.write_bytes(_content(kind, source, words))
    return f"{files} files, {total / 1e6:.1f} MB"


def _content(kind: str, source: random.Random, words: list[bytes]) -> bytes:
    size = source.randrange(40, 160) * _KIB
    if kind == "text":
        return b" ".join(source.choices(words, k=size // 9))
    if kind == "noise":
        return source.randbytes(size)
    return bytes(size if kind == "zeros" else 0)


def pack(folder: Path, archive: Path) -> Checksums:
    """Put a folder into a compressed archive, and return what that holds."""
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        tar.add(folder, arcname=".")
    return checksums(folder)


def deliver(archive: Path, place: Path) -> Checksums:
    """Replace a folder by what an archive holds, and return what is there then.

    Raises:
        ValueError: If the folder is the root of the file system.
    """
    if place == Path(place.anchor):
        raise ValueError(f"{str(place)!r} is the root of the file system: not replaced")

    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    parcel = Path(shutil.copy(archive, place))
    with tarfile.open(parcel) as tar:
        # Python before 3.10.12 and 3.11.4 does not know filters.
        if hasattr(tarfile, "data_filter"):
            tar.extraction_filter = tarfile.data_filter
        tar.extractall(place)  # noqa: S202 - our own archive
    parcel.unlink()
    return checksums(place)


def checksums(folder: Path) -> Checksums:
    """Return the SHA-256 of each file."""
    return {
        path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }
