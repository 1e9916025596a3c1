"""Following a path step by step, so that each step can be watched before it is taken.

A watch on the last directory alone misses a renamed ancestor, a symbolic link that is
led elsewhere, and parents that are made later.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from ._core_verdicts import Watching

__all__ = ["Trail", "follow"]

_MOST_LINKS: Final = 40  # as Linux


class Trail(NamedTuple):
    """Where following a path has ended.

    Attributes:
        place: Its last place, without symbolic links: what is there, or the deepest
            directory that is.
        status: What is there; None if the path leads to nothing.
        missing: The name that is not there.
    """

    place: str
    status: os.stat_result | None
    missing: str = ""


def follow(path: str, watching: Watching) -> Trail:
    """Follow an absolute path to its end, watching each step before it is taken.

    What changes behind a step that was taken is heard; what changes before it is seen.
    """
    root, rest = _split_root(path)
    steps = deque(_names(rest))
    place, links = root, 0
    status: os.stat_result | None = None
    while steps:
        name = steps.popleft()
        if name == os.pardir:
            place = os.path.dirname(place)  # noqa: PTH120 - links are resolved already
            status = None
            continue

        inside = os.path.join(place, name)  # noqa: PTH118 - a hot path
        watched, status = _step(place, name, inside, bool(steps), watching)
        if status is None:
            return Trail(place, None, name)

        if stat.S_ISLNK(status.st_mode):
            links += 1
            target = _read_link(inside) if links <= _MOST_LINKS else None
            if target is None:
                return Trail(place, None, name)
            if not watched:
                watching.poll(f"{place} cannot be watched")
            if os.path.isabs(target):  # noqa: PTH117
                place, target = _split_root(target)
            steps.extendleft(reversed(_names(target)))
            status = None
            continue

        if steps and not stat.S_ISDIR(status.st_mode):
            return Trail(place, None, name)
        place = inside
    return Trail(place, status or _look(place))


def _names(path: str) -> list[str]:
    names = path.split(os.sep)  # noqa: PTH206 - text: a Path would lose what it drops
    return [name for name in names if name not in {"", "."}]


def _step(
    place: str, name: str, inside: str, more: bool, watching: Watching
) -> tuple[bool, os.stat_result | None]:
    """Watch a name, then look what is there.

    Where the path goes on behind it, its making is no news, and would be noise: most
    of a busy directory's events.
    """
    if more and _look(inside) is not None:
        watched = watching.entry(place, name, passed=True)
        status = _look(inside)
        if status is not None:
            return watched, status
    watched = watching.entry(place, name, passed=False)
    return watched, _look(inside)


def _split_root(path: str) -> tuple[str, str]:
    drive, rest = os.path.splitdrive(path)
    return drive + os.sep, rest.replace("/", os.sep)


def _look(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE}:
            return None
        if error.errno == errno.EACCES:
            return None
        raise


def _read_link(path: str) -> str | None:
    try:
        return os.readlink(path)  # noqa: PTH115
    except OSError:
        return None
