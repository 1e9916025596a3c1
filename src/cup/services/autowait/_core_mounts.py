"""Which file systems tell of changes, and which may make a look take for ever.

Read from the table of mounts, by path alone: to ask a file system of another machine
itself would block when that machine does not answer.
"""

from __future__ import annotations

import os
from pathlib import Path
from time import monotonic
from typing import Final, TypeAlias

__all__ = ["is_computed", "is_remote", "silent_type"]

_REMOTE: Final = {
    *("9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "drvfs", "fuse"),
    *("glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs"),
    *("prl_fs", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs"),
}
_COMPUTED: Final = {
    *("binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "efivarfs"),
    *("fusectl", "proc", "pstore", "resctrl", "securityfs", "sysfs", "tracefs"),
}
_TABLE: Final = "/proc/self/mountinfo"
_FRESH: Final = 1.0  # seconds: the table takes 0.1 ms and more to read

_Table: TypeAlias = "dict[str, str]"
_known: tuple[float, _Table] = (float("-inf"), {})


def silent_type(path: str) -> str | None:
    """Return the type of a file system that does not tell of all changes, else None.

    Args:
        path: An absolute path without symbolic links.
    """
    kind = _type_of(path)
    base = kind.partition(".")[0]
    return kind if base in _REMOTE or base in _COMPUTED else None


def is_remote(path: str) -> bool:
    """Tell whether a look at a path may wait for another machine, or a program."""
    return _type_of(path).partition(".")[0] in _REMOTE


def is_computed(path: str) -> bool:
    """Tell whether files there are made up by the system at each reading."""
    return _type_of(path) in _COMPUTED


def _type_of(path: str) -> str:
    table = _table()
    while path not in table:
        above: str = os.path.dirname(path)  # noqa: PTH120 - text alone
        if above == path:
            return ""
        path = above
    return table[path]


def _table() -> _Table:
    global _known  # noqa: PLW0603 - there is one table
    when, table = _known
    now = monotonic()
    if now - when >= _FRESH:
        table = _read()
        _known = (now, table)
    return table


def _read() -> _Table:
    """Map each mount point to the type of what is mounted there last.

    The format is that of proc_pid_mountinfo(5). Other systems have no such file.
    """
    table: _Table = {}
    try:
        with Path(_TABLE).open(encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                left, _, right = line.partition(" - ")
                point = left.split(" ", 5)[4]
                if "\\" in point:
                    point = _unescaped(point)
                table[point] = right.partition(" ")[0]
    except (OSError, IndexError):
        return {}
    return table


def _unescaped(point: str) -> str:
    for code, char in (("040", " "), ("011", "\t"), ("012", "\n"), ("134", "\\")):
        point = point.replace("\\" + code, char)
    return point
