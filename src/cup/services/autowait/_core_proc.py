"""Who runs what: a look into /proc. Linux only.

A process runs a file as its executable, or as the script that its interpreter was
started with. Mere arguments do not count: `tail -f svc` does not run `svc`.
"""

from __future__ import annotations

import enum
import os
import re
from typing import TYPE_CHECKING, Final

from .conditions import ProcessId

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Likeness", "ProcTable", "Program", "scripts"]

_DELETED: Final = " (deleted)"
_INTERPRETERS: Final = re.compile(
    r"(python|pypy|perl|ruby|node|nodejs|lua|luajit|php|tclsh|wish|Rscript|guile|"
    r"bash|sh|dash|ash|ksh|mksh|zsh|fish|awk|gawk|mawk|expect|busybox)[\d.]*"
)
_HEAD: Final = 256  # bytes in which the kernel looks for an interpreter
_NAME: Final = 15  # characters that the kernel keeps of a name


class Likeness(enum.Enum):
    """Whether a process runs a program."""

    NO = enum.auto()
    MAYBE = enum.auto()
    """It belongs to somebody else, and may be the one."""
    YES = enum.auto()


class Program:
    """What is looked for: a file, or all that is beneath a directory.

    Attributes:
        path: What was asked for.
        place: The same without symbolic links, as it was when last looked at.
    """

    __slots__ = (
        "_below",
        "_interpreter",
        "_name",
        "_script",
        "_signature",
        "path",
        "place",
    )

    def __init__(self, path: str) -> None:
        self.path: str = path
        self._signature: tuple[object, ...] = ()
        self._name = os.path.basename(path.rstrip("/"))  # noqa: PTH119 - text alone
        self.refresh()

    def refresh(self) -> None:
        """Look anew at what the path leads to.

        The file is read only if it is another than before: to open it is an event.
        """
        self.place: str = os.path.realpath(self.path)
        try:
            found = os.stat(self.place)  # noqa: PTH116 - a hot path
        except OSError:
            signature: tuple[object, ...] = ()
        else:
            signature = (found.st_dev, found.st_ino, found.st_mtime_ns)
        if signature == self._signature and signature:
            return

        self._signature = signature
        self._below = self.place.rstrip("/") + "/" if os.path.isdir(self.place) else ""  # noqa: PTH112
        self._script = True
        self._interpreter = ""
        try:
            with open(self.place, "rb") as file:  # noqa: PTH123
                self._read(file.read(_HEAD))
        except OSError:
            pass  # deleted, or of somebody else: it may be either

    def _read(self, head: bytes) -> None:
        """Learn from the begin of the file whether it is a script, and of what."""
        self._script = not head.startswith(b"\x7fELF")
        words = head.partition(b"\n")[0][2:].split() if head.startswith(b"#!") else []
        if words:
            name = os.path.basename(words[0])  # noqa: PTH119
            if name == b"env":
                name = next((w for w in words[1:] if not w.startswith(b"-")), b"")
            self._interpreter = os.fsdecode(name)

    @property
    def is_directory(self) -> bool:
        """Whether it stands for all that is beneath it."""
        return bool(self._below)

    def is_at(self, path: str) -> bool:
        """Tell whether it is at a path."""
        if path in {self.place, self.path}:
            return True
        return bool(self._below) and path.startswith(self._below)

    def is_called(self, name: str, short: str = "") -> bool:
        """Tell whether it may have a name, or what the kernel keeps of it."""
        return bool(self._below) or name == self._name or short == self._name[:_NAME]

    def may_be_run_by(self, executable: str) -> bool:
        """Tell whether an executable runs scripts, this one perhaps."""
        if not self._script:
            return False
        name = os.path.basename(executable)  # noqa: PTH119
        return name == self._interpreter or _INTERPRETERS.fullmatch(name) is not None


class ProcTable:
    """The processes of this machine, as far as one may see them.

    Args:
        root: Where proc is mounted.
    """

    __slots__ = ("_root",)

    def __init__(self, root: str = "/proc") -> None:
        self._root = root

    def find(self, program: Program) -> Iterator[tuple[int, Likeness]]:
        """Give the processes that run a program, or may run it; never the caller."""
        own = str(os.getpid())
        for name in os.listdir(self._root):  # noqa: PTH208 - a hot path
            if name.isdigit() and name != own:
                likeness = self._likeness(f"{self._root}/{name}", program)
                if likeness is not Likeness.NO:
                    yield int(name), likeness

    def called(self, name: str) -> list[int]:
        """Return the processes of a name."""
        return [
            int(pid)
            for pid in os.listdir(self._root)  # noqa: PTH208
            if pid.isdigit() and _name(f"{self._root}/{pid}") == name[:_NAME]
        ]

    def _likeness(self, process: str, program: Program) -> Likeness:
        try:
            executable = os.readlink(process + "/exe")  # noqa: PTH115
        except PermissionError:
            return self._likeness_of_foreign(process, program)
        except OSError:
            return self._likeness_without_leader(process, program)
        return self._runs(process, executable, program)

    def _runs(self, process: str, executable: str, program: Program) -> Likeness:
        if program.is_at(executable):
            return Likeness.YES

        if executable.endswith(_DELETED):
            executable = executable.removesuffix(_DELETED)
            if program.is_at(executable):
                return Likeness.YES
        if not program.may_be_run_by(executable):
            return Likeness.NO
        return self._runs_script(process, program)

    def _runs_script(self, process: str, program: Program) -> Likeness:
        found = Likeness.NO
        for word in scripts(_arguments(process)):
            if os.path.isabs(word):  # noqa: PTH117
                if program.is_at(word) or program.is_at(os.path.realpath(word)):
                    return Likeness.YES
                continue
            try:
                inside = os.readlink(process + "/cwd")  # noqa: PTH115
            except PermissionError:
                if program.is_called(os.path.basename(word)):  # noqa: PTH119
                    found = Likeness.MAYBE
            except OSError:
                return Likeness.NO
            else:
                place = os.path.normpath(os.path.join(inside, word))  # noqa: PTH118
                if program.is_at(place) or program.is_at(os.path.realpath(place)):
                    return Likeness.YES
        return found

    def _likeness_of_foreign(self, process: str, program: Program) -> Likeness:
        """Judge a process by its arguments and name: its executable is not shown."""
        arguments = _arguments(process)
        if not arguments or not arguments[0]:
            return Likeness.NO  # a thread of the kernel, or what has ended

        first = arguments[0].lstrip("-")
        if os.path.isabs(first) and program.is_at(first):  # noqa: PTH117
            return Likeness.YES
        if program.may_be_run_by(first):
            likeness = self._runs_script(process, program)
            if likeness is not Likeness.NO:
                return likeness
        if program.is_directory:
            # It may be anything; to wait for all of them would be to wait for ever.
            return Likeness.NO
        if program.is_called(os.path.basename(first), _name(process)):  # noqa: PTH119
            return Likeness.MAYBE
        return Likeness.NO

    def _likeness_without_leader(self, process: str, program: Program) -> Likeness:
        """Look at the other threads: the first may have ended before them."""
        try:
            threads = os.listdir(process + "/task")  # noqa: PTH208
        except OSError:
            return Likeness.NO
        for thread in threads:
            try:
                executable = os.readlink(f"{process}/task/{thread}/exe")  # noqa: PTH115
            except OSError:
                continue
            return self._runs(f"{process}/task/{thread}", executable, program)
        return Likeness.NO

    def identify(self, pid: int) -> ProcessId | None:
        """Return who has a number now; None if nobody has, or has ended."""
        fields = _status(f"{self._root}/{pid}")
        if fields is None:
            return None

        state, threads, started = fields[0], int(fields[17]), float(fields[19])
        if state in {b"X", b"x"} or (state == b"Z" and threads <= 1):
            return None
        return ProcessId(pid, started)


def _status(process: str) -> list[bytes] | None:
    """Return the fields of proc_pid_stat(5) from the third, the state, on."""
    try:
        with open(process + "/stat", "rb") as file:  # noqa: PTH123
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return None


def _arguments(process: str) -> list[str]:
    try:
        with open(process + "/cmdline", "rb") as file:  # noqa: PTH123
            return os.fsdecode(file.read()).rstrip("\0").split("\0")
    except OSError:
        return []


def _name(process: str) -> str:
    try:
        with open(process + "/comm", "rb") as file:  # noqa: PTH123
            return os.fsdecode(file.read().rstrip(b"\n"))
    except OSError:
        return ""


def scripts(arguments: list[str]) -> Iterator[str]:
    """Give what may be the script of an interpreter: its first word without a dash.

    An option may take the word behind it, so the next one may be the script as well.
    After `-c` and `-m` there is none.
    """
    after_option = False
    for word in arguments[1:]:
        if word in {"-c", "-m", "-e"}:
            return
        if word.startswith("-"):
            after_option = True
            continue

        yield word
        if not after_option:
            return
        after_option = False
