"""The probe of a line in a file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from ._core_files import missing_part, nearest_of
from ._core_lines import LineSearch, required_literal
from ._core_mounts import is_remote
from ._core_paths import follow
from ._core_tail import Tail
from ._core_verdicts import NOT_YET, Met, Probe

if TYPE_CHECKING:
    from ._core_tail import Piece
    from ._core_verdicts import Look, Verdict, Watching
    from .files import LineMatch, RegexInFile

__all__ = ["RegexProbe"]

_PIECE: Final = 65_536  # more comes from the system page by page, which takes longer
_PIECES: Final = 8  # at one look
_SHOWN: Final = 120


class RegexProbe(Probe["LineMatch"]):
    """Reads a file as it grows, a piece at each look, and searches its lines."""

    __slots__ = (
        "_bytes",
        "_first_size",
        "_found",
        "_heard",
        "_now",
        "_path",
        "_search",
        "_tail",
        "_wanted",
    )

    def __init__(self, condition: RegexInFile) -> None:
        super().__init__(condition)
        self._wanted = condition
        self._path = condition.path
        self._tail = Tail(condition.path, from_end=condition.start == "end")
        self._search = LineSearch(condition)
        self._found: LineMatch | None = None
        self._first_size: int | None = None
        self._bytes = 0
        self._heard = self._now = 0.0
        self.blocks = is_remote(condition.path)

    @override
    def arm(self, watching: Watching) -> None:
        """Watch each step of the path, the file there, and the open one."""
        trail = follow(self._path, watching)
        if trail.status is not None:
            watching.content(trail.place)
        self._tail.watch_open(watching)

    @override
    def check(self, look: Look) -> Verdict[LineMatch]:
        """Read a piece, and search it."""
        if self._found is not None:
            return Met(self._found)

        self._now = look.now
        for _ in range(_PIECES):
            piece = self._tail.advance(_PIECE)
            self.more = piece is not None
            if piece is None:
                break
            self._found = self._feed(piece, look)
            if self._found is not None:
                self.more = False
                return Met(self._found)

        if self._first_size is None:
            self._first_size = self._tail.size
        if look.last and self.more and not self._tail.computed:
            # Who looks once still has all that was there when the look began.
            self.more = self._tail.place < self._first_size
        return NOT_YET

    def _feed(self, piece: Piece, look: Look) -> LineMatch | None:
        if piece.fresh and self._tail.computed:
            self._search.forget_count()
        self._heard = look.now
        self._bytes += len(piece.content)
        return self._search.feed(piece)

    @override
    def seen(self) -> str:
        """Say how much was read, and what came last."""
        if not self._tail.is_open() and not self._bytes:
            return missing_part(self._path)

        search = self._search
        last = search.last[-_SHOWN:].decode(errors="replace")
        text = f"{search.number} lines, {self._bytes} bytes"
        if self._bytes:
            text += f", last line {last!r} {self._now - self._heard:.1f} s ago"
        if self._tail.replaced:
            text += f"; file replaced {self._tail.replaced} times"
        if self._tail.truncated:
            text += f"; file truncated {self._tail.truncated} times"
        return text

    @override
    def nearest(self) -> str:
        """Return the line that is most like what is wanted."""
        content = self._tail.last_bytes(self._wanted.window)
        lines = content.decode(self._wanted.encoding, "replace").splitlines()[-500:]
        pattern = self._wanted.pattern
        relaxed = re.compile(pattern.pattern, pattern.flags | re.IGNORECASE)
        for line in reversed(lines):
            if relaxed.search(line.strip()):
                return repr(line[:_SHOWN])

        wanted = required_literal(pattern) or pattern.pattern
        near = nearest_of(wanted, [line[:_SHOWN] for line in reversed(lines)])
        return repr(near[0]) if near else ""

    @override
    def close(self) -> None:
        """Close the file."""
        self._tail.close()
