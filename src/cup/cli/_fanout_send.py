"""One attempt at one destination: a process, an archive into it, and what it answers.

A `Courier` blocks the thread that calls `run`; any other thread may `stop` it. The
process has a group of its own, so that Ctrl-C on a terminal reaches only us, and that
stopping it also stops what it has started.

Not here: whether to try again (`_fanout_run`), what happens there (`_fanout_script`).
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Final

from ._fanout_script import (
    ANSWER,
    BUSY,
    CHECKED_WRONG,
    REFUSED,
    local_command,
    ssh_command,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import IO

    from ._fanout_pack import Pack
    from ._fanout_places import Place

__all__ = ["Answer", "Cargo", "Courier", "missing_tool"]

_PORTION: Final = 1 << 16
_REMARKS: Final = 1 << 16  # bytes of the end of what was printed, at most
_LONGEST_REASON: Final = 300
_SSH_FAILED: Final = 255
# What ssh says when trying again is of no use.
_FINAL: Final = (
    "permission denied",
    "host key verification failed",
    "name or service not known",
    "bad configuration",
    "can't open user config",
    "no such identity",
    "nodename nor servname",
)
_FULL_DISK: Final = ("No space left", "quota exceeded")
_MAYBE: Final = "; it was about to get its name, and may have"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cargo:
    """What every courier takes along.

    Attributes:
        pack: What was packed.
        archive: Its bytes.
        run: What tells this run from others.
        timeout: Seconds that one attempt may take.
        ssh: The command for ssh, and its options.
    """

    pack: Pack
    archive: memoryview
    run: str
    timeout: float
    ssh: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How an attempt ended.

    Attributes:
        delivered: Whether the folder is there.
        reason: Why not.
        final: Whether trying again is of no use.
        refused: Whether the destination is none that may be replaced.
    """

    delivered: bool
    reason: str = ""
    final: bool = False
    refused: bool = False


class Courier:
    """Delivers an archive to a destination, once.

    Args:
        place: Where to.
        cargo: What.
    """

    def __init__(self, place: Place, cargo: Cargo) -> None:
        self.place = place
        self.sent: int = 0
        self.deadline: float = monotonic() + cargo.timeout
        self.stopped_at: float | None = None
        self._cargo = cargo
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped: str = ""

    @property
    def size(self) -> int:
        """How many bytes there are to send."""
        return len(self._cargo.archive)

    def run(self) -> Answer:
        """Deliver; blocks until it is over.

        Returns:
            How it ended; nothing is raised for what goes wrong there.

        Raises:
            OSError: If no process can be started, or no file made.
        """
        with tempfile.TemporaryFile() as remarks:
            process = self._start(remarks)
            if process is None:
                return Answer(delivered=False, reason=self._stopped)

            self._send(process)
            status = process.wait()
            remarks.seek(max(0, remarks.seek(0, os.SEEK_END) - _REMARKS))
            text = remarks.read().decode("utf-8", "replace")
        return self._read(text, status)

    def stop(self, why: str, *, hard: bool = False) -> None:
        """End the attempt; it tidies up where it has worked.

        Args:
            why: The reason that it ends with.
            hard: Whether to leave it no time.
        """
        with self._lock:
            if self.stopped_at is None:
                self._stopped = why
                self.stopped_at = monotonic()
            process = self._process
            if process is None or process.poll() is not None:
                return

            if sys.platform == "win32":
                process.kill()
            else:
                sign = signal.SIGKILL if hard else signal.SIGTERM
                try:
                    os.killpg(process.pid, sign)
                except ProcessLookupError:
                    pass  # it has just ended

    @property
    def is_sent(self) -> bool:
        """Whether all is sent, and the other end is busy with it."""
        return self.sent >= self.size

    def _start(self, remarks: IO[bytes]) -> subprocess.Popen[bytes] | None:
        """Start the process, unless it was told to stop before."""
        with self._lock:
            if not self._stopped:
                self._process = subprocess.Popen(  # noqa: S603 - a command of ours
                    self._command(),
                    bufsize=0,
                    stdin=subprocess.PIPE,
                    stdout=remarks,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        return self._process

    def _command(self) -> list[str]:
        cargo = self._cargo
        limit = int(cargo.timeout) + 1
        if self.place.host:
            return ssh_command(
                self.place, cargo.pack, cargo.run, limit, list(cargo.ssh)
            )
        return local_command(self.place, cargo.pack, cargo.run, limit)

    def _send(self, process: subprocess.Popen[bytes]) -> None:
        pipe = process.stdin
        assert pipe is not None
        archive = self._cargo.archive
        try:
            while self.sent < len(archive):
                portion = archive[self.sent : self.sent + _PORTION]
                self.sent += pipe.write(portion)
        except BrokenPipeError:
            pass  # it has ended early, and says why
        finally:
            pipe.close()

    def _read(self, text: str, status: int) -> Answer:
        """Make sense of what was printed; remarks are what others have said."""
        said = step = ""
        remarks: list[str] = []
        for line in text.splitlines():
            if not line.startswith(ANSWER):
                remarks.append(line.strip())
                continue

            word, _, rest = line.removeprefix(ANSWER).partition(" ")
            if word == "done":
                return Answer(delivered=True)
            if word == "error":
                said = rest
            else:
                step = rest
                remarks.clear()  # of a step that went well
        remarks = [line for line in remarks if line]
        if self._stopped:
            maybe = _MAYBE if step == "arrive" else ""
            return Answer(delivered=False, reason=self._stopped + maybe)
        return Answer(
            delivered=False,
            reason=_reason(said, remarks, status)[:_LONGEST_REASON],
            final=_is_final(status, remarks),
            refused=status == REFUSED,
        )


def _reason(said: str, remarks: list[str], status: int) -> str:
    if said and status in {REFUSED, BUSY, CHECKED_WRONG}:
        return said
    if said:
        full = [line for line in remarks if any(word in line for word in _FULL_DISK)]
        why = [*full, *remarks][:1]
        return ": ".join([said, *why])
    if remarks:
        return remarks[-1]
    if status < 0:
        return f"it was ended by signal {-status}"
    return f"it ended early, with status {status}"


def _is_final(status: int, remarks: list[str]) -> bool:
    if status == _SSH_FAILED:
        words = " ".join(remarks).lower()
        return any(phrase in words for phrase in _FINAL)
    return status == REFUSED


def missing_tool(place: Place, ssh: Sequence[str]) -> str:
    """Return why nothing can be sent from this machine; "" if it can."""
    tool = ssh[0] if place.host else "sh"
    if shutil.which(tool) is None:
        return f"{shlex.quote(tool)} is not installed here"
    return ""
