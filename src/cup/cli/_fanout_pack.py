"""Packing a folder once, into a tar archive with checksums of every file.

The same folder gives the same archive: names are sorted, owners left out. Symbolic
links, hard links, modes, empty folders and the nanoseconds of modification times are
kept. The archive holds the folder as `new`, and beside it what the other end checks:

- `names`: the files, each ended by a NUL; `sha256` and `cksum`: what these tools print
  for them;
- `odd`: a sh script with the files whose names such tools do not print as they are;
- `modes`: one for folders that their owner may not change: it comes after everything.

Not here: how it is sent.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import stat
import tarfile
import zlib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from cup.errors import InvalidValue

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Pack", "pack_folder"]

_BLOCK: Final = 1 << 20
_NANO: Final = 1_000_000_000
_TOP: Final = "new"
_OWNER: Final = 0o700
_BOOT: Final = "/proc/sys/kernel/random/boot_id"
_MIRRORED: Final = bytes(int(f"{n:08b}"[::-1], 2) for n in range(256))
_FULL: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """A folder that is packed.

    Attributes:
        source: The folder, without symbolic links in its path.
        inode: Its number, by which the other end knows it again.
        boot: What tells this machine from others; "" if nothing does.
        mode: The mode of the folder, if its owner may not write to it; else "".
        content: The SHA-256 of the archive: equal for equal folders.
        size: The bytes of the archive.
        payload: The bytes of the files.
        files: How many there are, hard links included.
        folders: How many, without the folder itself.
        links: How many symbolic links there are.
    """

    source: str
    inode: int
    boot: str
    mode: str
    content: str
    size: int
    payload: int
    files: int
    folders: int
    links: int

    @property
    def entries(self) -> int:
        """How many entries arrive, the folder itself included."""
        return 1 + self.files + self.folders + self.links


class _Reading:
    """A file that is read once, and what tells that it arrives as it is."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._sha = hashlib.sha256()
        self._crc = _FULL
        self.size = 0

    def read(self, size: int = -1) -> bytes:
        """Read on."""
        content = self._file.read(size)
        self._sha.update(content)
        self._crc = zlib.crc32(content.translate(_MIRRORED), self._crc)
        self.size += len(content)
        return content

    def sums(self) -> tuple[str, str]:
        """Return what `sha256sum` and `cksum` print before the name.

        The CRC of POSIX is that of zlib with the bits of each byte, and of the result,
        in the opposite order, and the length as its last bytes.
        """
        length = self.size.to_bytes((self.size.bit_length() + 7) // 8, "little")
        crc = zlib.crc32(length.translate(_MIRRORED), self._crc) ^ _FULL
        posix = int(f"{crc:032b}"[::-1], 2) ^ _FULL
        return self._sha.hexdigest(), f"{posix} {self.size}"


class _Packer:
    """Writes an archive."""

    def __init__(self, source: str, excludes: Sequence[str], into: IO[bytes]) -> None:
        self._source = source
        self._excludes = excludes
        self._tar = tarfile.open(  # noqa: SIM115 - closed when all is in it
            fileobj=into, mode="w", format=tarfile.PAX_FORMAT
        )
        self._first: dict[tuple[int, int], str] = {}
        self._sums: dict[str, tuple[str, str]] = {}
        self._locked: list[bytes] = []
        self.payload = 0
        self.folders = -1  # the first one is not in itself
        self.links = 0

    @property
    def files(self) -> int:
        """How many files were packed."""
        return len(self._sums)

    def pack(self) -> None:
        """Pack everything."""
        top = Path(self._source).stat()
        self._add_folder("", top)
        for name, path, info in self._walk():
            self._add(name, path, info)
        self._add_manifest()
        self._tar.close()

    def _walk(self) -> Iterator[tuple[str, str, os.stat_result]]:
        """Give what is in the folder, in the order of names, folders first."""
        ahead = [("", self._source)]
        while ahead:
            name, path = ahead.pop()
            if name:
                info = os.lstat(path)
                yield name, path, info
                if not stat.S_ISDIR(info.st_mode):
                    continue

            prefix = f"{name}/" if name else ""
            inside = [prefix + entry.name for entry in os.scandir(path)]
            inside.sort(key=os.fsencode, reverse=True)
            ahead += [
                (one, f"{self._source}/{one}")
                for one in inside
                if not self._is_excluded(one)
            ]

    def _is_excluded(self, name: str) -> bool:
        last = name.rpartition("/")[2]
        return any(
            fnmatchcase(name if "/" in glob.strip("/") else last, glob.strip("/"))
            for glob in self._excludes
        )

    def _add(self, name: str, path: str, info: os.stat_result) -> None:
        member = _member(name, info)
        if stat.S_ISREG(info.st_mode):
            self._add_file(member, name, path, info)
        elif stat.S_ISDIR(info.st_mode):
            self._add_folder(name, info)
        elif stat.S_ISLNK(info.st_mode):
            member.type = tarfile.SYMTYPE
            member.linkname = os.readlink(path)  # noqa: PTH115 - Path changes it
            self._put(member)
            self.links += 1
        else:
            raise InvalidValue(
                f"{path} is {_kind(info.st_mode)}, which cannot be packed; "
                f"leave it out: --exclude {shlex.quote(name)}"
            )

    def _add_folder(self, name: str, info: os.stat_result) -> None:
        """Add a folder that can be filled, and note what it is to be in the end."""
        member = _member(name, info)
        member.type = tarfile.DIRTYPE
        if name and member.mode & _OWNER != _OWNER:
            where = os.fsencode(shlex.quote(f"./{name}"))
            self._locked.append(
                b"chmod %o %b || wrong %b\n" % (member.mode, where, where)
            )
        member.mode |= _OWNER
        self._put(member)
        self.folders += 1

    def _add_file(
        self, member: tarfile.TarInfo, name: str, path: str, info: os.stat_result
    ) -> None:
        identity = (info.st_dev, info.st_ino)
        first = self._first.get(identity) if info.st_nlink > 1 else None
        if first is not None:
            member.type = tarfile.LNKTYPE
            member.linkname = f"{_TOP}/{first}"
            self._put(member)
            self._sums[name] = self._sums[first]
            return

        self._first[identity] = name
        with Path(path).open("rb") as file:
            before = os.fstat(file.fileno())
            member.size = before.st_size
            reading = _Reading(file)
            try:
                self._put(member, reading)  # reads `size` bytes of it
            except tarfile.TarError as error:
                raise _changed(path) from error
            after = os.fstat(file.fileno())
        if _stamp(info) != _stamp(after):
            raise _changed(path)
        self._sums[name] = reading.sums()
        self.payload += reading.size

    def _put(
        self, member: tarfile.TarInfo, content: _Reading | BytesIO | None = None
    ) -> None:
        if not (member.name + member.linkname).isascii():
            # Some tars else think of the locale, and refuse what that cannot express.
            member.pax_headers = {**member.pax_headers, "hdrcharset": "BINARY"}
        self._tar.addfile(member, content)

    def _add_manifest(self) -> None:
        names, sha256, cksum, odd = BytesIO(), BytesIO(), BytesIO(), BytesIO()
        for name, (sha, crc) in self._sums.items():
            line = os.fsencode(f"./{name}")
            if any(odd_one in name for odd_one in "\\\n\r"):
                words = os.fsencode(shlex.join([sha, crc, f"./{name}"]))
                odd.write(b"check " + words + b"\n")
                continue

            names.write(line + b"\0")
            sha256.write(f"{sha}  ".encode() + line + b"\n")
            cksum.write(f"{crc} ".encode() + line + b"\n")
        modes = BytesIO()
        modes.writelines(reversed(self._locked))
        parts = {
            "names": names,
            "sha256": sha256,
            "cksum": cksum,
            "odd": odd,
            "modes": modes,
        }
        for name, content in parts.items():
            member = tarfile.TarInfo(name)
            member.mode = 0o600
            member.size = content.tell()
            content.seek(0)
            self._put(member, content)


def pack_folder(source: str, excludes: Sequence[str], into: IO[bytes]) -> Pack:
    """Pack a folder.

    Args:
        source: The folder; if it is a symbolic link, what that leads to.
        excludes: Patterns of what to leave out: with a slash, of paths below the
            folder; without one, of names anywhere.
        into: Where to write the archive; open for reading, too.

    Returns:
        What was packed.

    Raises:
        InvalidValue: If the source is no folder, if something in it is neither a file,
            a folder nor a link, or if it changes meanwhile.
        OSError: If it cannot be read, or the archive not be written.
    """
    if not source:  # a variable that is not set; it would mean the working directory
        raise InvalidValue("the source is empty; give a folder")

    real = os.path.realpath(source)
    if not Path(real).is_dir():
        what = "is no folder" if os.path.lexists(source) else "does not exist"
        raise InvalidValue(f"the source {source} {what}")

    packer = _Packer(real, excludes, into)
    packer.pack()
    into.flush()
    info = Path(real).stat()
    mode = stat.S_IMODE(info.st_mode)
    return Pack(
        source=real,
        inode=info.st_ino,
        boot=_boot(),
        mode="" if mode & _OWNER == _OWNER else f"{mode:o}",
        content=_content(into),
        size=into.tell(),
        payload=packer.payload,
        files=packer.files,
        folders=packer.folders,
        links=packer.links,
    )


def _member(name: str, info: os.stat_result) -> tarfile.TarInfo:
    member = tarfile.TarInfo(f"{_TOP}/{name}" if name else _TOP)
    member.mode = stat.S_IMODE(info.st_mode)
    seconds, nanoseconds = divmod(info.st_mtime_ns, _NANO)
    member.mtime = max(0, seconds)
    if nanoseconds or seconds < 0:
        member.pax_headers = {"mtime": _moment(seconds, nanoseconds)}
    return member


def _moment(seconds: int, nanoseconds: int) -> str:
    if seconds < 0 and nanoseconds:  # before 1970
        return f"-{-seconds - 1}.{_NANO - nanoseconds:09d}"
    return f"{seconds}.{nanoseconds:09d}"


def _content(archive: IO[bytes]) -> str:
    archive.seek(0)
    sha = hashlib.sha256()
    while block := archive.read(_BLOCK):
        sha.update(block)
    return sha.hexdigest()


def _stamp(info: os.stat_result) -> tuple[int, int, int]:
    return info.st_ino, info.st_size, info.st_mtime_ns


def _changed(path: str) -> InvalidValue:
    return InvalidValue(f"{path} changed while it was packed; try again")


def _kind(mode: int) -> str:
    if stat.S_ISFIFO(mode):
        return "a named pipe"
    if stat.S_ISSOCK(mode):
        return "a socket"
    return "a device"


def _boot() -> str:
    try:
        return Path(_BOOT).read_text(encoding="ascii").strip()
    except OSError:
        return ""
