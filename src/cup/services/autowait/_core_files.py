"""Probes of files that come, go, and are complete."""

from __future__ import annotations

import difflib
import errno
import fnmatch
import os
import re
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from . import _core_inotify as inotify
from ._core_mounts import is_remote
from ._core_paths import follow
from ._core_verdicts import NOT_YET, Met, Probe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._core_verdicts import Ear, Look, Verdict, Watching
    from .files import FileComplete, FileExists, FileGone

__all__ = [
    "CompleteProbe",
    "ExistsProbe",
    "GoneProbe",
    "close_names",
    "missing_part",
    "nearest_of",
]

_SHOWN: Final = 3
_COMPARED: Final = 30


def stat_at(path: str) -> os.stat_result | None:
    """Return what a path leads to; None if that is nothing, or cannot be known.

    Raises:
        OSError: If the system fails.
    """
    try:
        return os.stat(path)  # noqa: PTH116 - a hot path
    except OSError as error:
        if error.errno in _NOTHING or error.errno == errno.EACCES:
            return None
        raise


_NOTHING: Final = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE}


def _is_hidden(path: str) -> bool:
    """Tell whether one may not look whether there is something."""
    try:
        os.stat(path)  # noqa: PTH116 - a hot path
    except OSError as error:
        return error.errno == errno.EACCES
    return False


def missing_part(path: str) -> str:
    """Say which part of a path is the first that is not there."""
    for part in [*reversed(Path(path).parents), Path(path)]:
        try:
            part.stat()
        except OSError as error:
            if error.errno == errno.EACCES:
                return f"{str(part)!r} cannot be looked at: permission denied"
            what = "leads nowhere" if part.is_symlink() else "does not exist"
            return f"{str(part)!r} {what}"
    return f"{path!r} is there"


def close_names(directory: str, name: str) -> str:
    """Name what is in a directory and nearly called so."""
    try:
        names = os.listdir(directory)  # noqa: PTH208
    except OSError:
        return ""
    return ", ".join(map(repr, nearest_of(name, names)))


def nearest_of(wanted: str, texts: list[str]) -> list[str]:
    """Return what is most like a text, of those that begin like it or hold it."""
    begin, low = wanted[:2].lower(), wanted.lower()
    alike = [text for text in texts if text.lower().startswith(begin)]
    alike += [text for text in texts if low in text.lower()]
    # Comparing takes its time, and somebody waits for the message.
    return difflib.get_close_matches(wanted, (alike or texts)[:_COMPARED], _SHOWN)


class ExistsProbe(Probe[Path]):
    """Looks for a path, or for names in directories."""

    __slots__ = ("_glob", "_recursive", "_wanted")

    def __init__(self, condition: FileExists) -> None:
        super().__init__(condition)
        self._wanted = condition
        self._recursive = condition.recursive
        self._glob = None if condition.glob is None else _Glob(condition.glob)
        # A tree may be large: a task does not walk it on its loop.
        self.blocks = condition.recursive or is_remote(condition.path)

    @override
    def arm(self, watching: Watching) -> None:
        """Watch each step of the path; with a glob, the directory, and all below."""
        trail = follow(self._wanted.path, watching)
        glob = self._glob
        if (
            glob is None
            or trail.status is None
            or not stat.S_ISDIR(trail.status.st_mode)
        ):
            return

        hears = _every_name if self._recursive else glob.matches_bytes
        places = [trail.place]
        while places:
            place = places.pop()
            watching.entries(place, hears)  # before it is read
            for entry in _scan(place):
                if entry.is_symlink():
                    if glob.matches(entry.name):
                        follow(entry.path, watching)
                elif self._recursive and entry.is_dir(follow_symlinks=False):
                    places.append(entry.path)

    @override
    def check(self, look: Look) -> Verdict[Path]:
        """Look for it."""
        wanted = self._wanted
        if self._glob is None:
            found = stat_at(wanted.path)
            self.unsure = found is None and _is_hidden(wanted.path)
            good = found is not None and _is_kind(found, wanted.kind)
            return Met(Path(wanted.path)) if good else NOT_YET

        first = min(self._matches(self._glob, wanted.path), default=None)
        return NOT_YET if first is None else Met(Path(first))

    def _matches(self, glob: _Glob, place: str) -> Iterator[str]:
        places = [place]
        while places:
            for entry in _scan(places.pop()):
                if glob.matches(entry.name) and self._is_wanted(entry.path):
                    yield entry.path
                if self._recursive and entry.is_dir(follow_symlinks=False):
                    places.append(entry.path)

    def _is_wanted(self, path: str) -> bool:
        found = stat_at(path)
        return found is not None and _is_kind(found, self._wanted.kind)

    @override
    def seen(self) -> str:
        """Say what is missing."""
        wanted = self._wanted
        found = stat_at(wanted.path)
        if found is None:
            return missing_part(wanted.path)
        if wanted.glob is None:
            return f"it is no {wanted.kind}"
        below = " or below" if wanted.recursive else ""
        return f"nothing like {wanted.glob!r} in {wanted.path!r}{below}"

    @override
    def nearest(self) -> str:
        """Name what is nearly called so."""
        wanted = self._wanted
        if wanted.glob is not None:
            return close_names(wanted.path, wanted.glob)
        return close_names(*os.path.split(wanted.path))


class GoneProbe(Probe[None]):
    """Looks whether nothing is at a path."""

    __slots__ = ("_path",)

    def __init__(self, condition: FileGone) -> None:
        super().__init__(condition)
        self._path = condition.path
        self.blocks = is_remote(condition.path)

    @override
    def arm(self, watching: Watching) -> None:
        """Watch each step of the path."""
        follow(self._path, watching)

    @override
    def check(self, look: Look) -> Verdict[None]:
        """Look whether it is gone; where one may not look it may still be there."""
        try:
            os.stat(self._path)  # noqa: PTH116 - a hot path
        except OSError as error:
            if error.errno in _NOTHING:
                return Met(None)
            if error.errno != errno.EACCES:
                raise
            self.unsure = True
        else:
            self.unsure = False
        return NOT_YET

    @override
    def seen(self) -> str:
        """Say that it is there."""
        return "it is there"


class CompleteProbe(Probe[Path]):
    """Looks whether a file is there and has come to rest."""

    __slots__ = ("_ear", "_path", "_quiet", "_signature", "_since", "_state")

    def __init__(self, condition: FileComplete) -> None:
        super().__init__(condition)
        self._path = condition.path
        self._quiet = condition.quiet
        self._ear: Ear | None = None
        self._signature: tuple[int, ...] = ()
        self._since = 0.0
        self._state = ""
        self.blocks = is_remote(condition.path)

    @override
    def arm(self, watching: Watching) -> None:
        """Watch each step of the path, and the file."""
        trail = follow(self._path, watching)
        self._ear = None
        if trail.status is not None:
            self._ear = watching.content(trail.place)

    @override
    def check(self, look: Look) -> Verdict[Path]:
        """Compare it with what it was at the last look, and with the clock."""
        found = stat_at(self._path)
        self.due = None
        if found is None or not stat.S_ISREG(found.st_mode):
            self._signature = ()
            self._state = missing_part(self._path) if found is None else "it is no file"
            return NOT_YET

        signature = (
            *(found.st_dev, found.st_ino, found.st_size),
            *(found.st_mtime_ns, found.st_ctime_ns),
        )
        if signature != self._signature:
            self._signature = signature
            self._since = look.now
        age = self._age(found, look.now)
        self._state = f"{found.st_size} bytes, last changed {age:.2f} s ago"
        if age < self._quiet:
            self.due = look.now + self._quiet - age
            return NOT_YET

        if self._ear is not None and self._ear.last & inotify.MODIFY:
            self._state += ", a writer has it open"
            return NOT_YET  # it hears of the closing
        return Met(Path(self._path))

    def _age(self, found: os.stat_result, now: float) -> float:
        """Return for how long it has not changed.

        The change of its inode counts, too: nobody can set that time back. A clock that
        is behind the file's says nothing; then counts what was seen.
        """
        by_clock = time.time() - max(found.st_mtime, found.st_ctime)
        return max(by_clock, now - self._since)

    @override
    def seen(self) -> str:
        """Say how it is."""
        return self._state


class _Glob:
    """A pattern of names, as in a shell."""

    __slots__ = ("_literal", "_regex")

    def __init__(self, pattern: str) -> None:
        self._literal = pattern
        self._regex = re.compile(fnmatch.translate(pattern))

    def matches(self, name: str) -> bool:
        """Tell whether a name matches; one that begins with a dot must be meant."""
        if name == self._literal:
            return True
        if name.startswith(".") and not self._literal.startswith("."):
            return False
        return self._regex.match(name) is not None

    def matches_bytes(self, name: bytes) -> bool:
        """Tell the same of a name as the system has it."""
        return self.matches(os.fsdecode(name))


def _every_name(_: bytes) -> bool:
    return True


def _is_kind(found: os.stat_result, kind: str) -> bool:
    if kind == "file":
        return stat.S_ISREG(found.st_mode)
    return kind == "any" or stat.S_ISDIR(found.st_mode)


def _scan(place: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(place) as entries:
            return list(entries)
    except OSError as error:
        if error.errno in _NOTHING or error.errno == errno.EACCES:
            return []
        raise
