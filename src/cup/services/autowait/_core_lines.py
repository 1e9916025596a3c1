"""Finding lines that match, in pieces as they come, within bounded memory.

Where the pattern cannot match without some literal text, that text is looked for first,
in the bytes: most lines are then never decoded.
"""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, Final

from .files import LineMatch

if TYPE_CHECKING:
    from ._core_tail import Piece
    from .files import RegexInFile

__all__ = ["LineSearch", "required_literal"]

_BOM: Final = b"\xef\xbb\xbf"
_CUT: Final = "\N{HORIZONTAL ELLIPSIS}"  # stands for the lost begin of a line
_ASCII: Final = bytes(range(128))
_LEAST: Final = 3  # characters that are worth looking for
_SPECIAL: Final = ".^$*+?{}[]()|\\"
_NUMBERED: Final = frozenset("xuU0123456789")  # escapes that go on with digits
_HEX: Final = frozenset("0123456789abcdefABCDEF")


def required_literal(pattern: re.Pattern[str]) -> str:
    """Return text without which a pattern cannot match; empty if none is known.

    It reads the pattern from left to right and keeps plain characters outside of
    groups and classes; whatever it is not sure about ends the run.
    """
    text = pattern.pattern
    flags = pattern.flags & (re.IGNORECASE | re.VERBOSE | re.LOCALE)
    # U+FFFD stands for bytes that could not be decoded: it is not itself in them.
    if flags or "|" in text or "(?" in text or "\N{REPLACEMENT CHARACTER}" in text:
        return ""

    best, run, depth, at = "", "", 0, 0
    while at < len(text):
        char = text[at]
        at += 1
        if char not in _SPECIAL:
            run += char if depth == 0 else ""
            continue

        best = max(best, run[:-1] if char in "*?{" else run, key=len)
        run = ""
        if char == "\\":
            at = _end_of_escape(text, at)
        elif char == "[":
            at = _end_of_class(text, at)
        elif char == "{":
            at = text.find("}", at) + 1 or len(text)
        elif char in "()":
            depth += 1 if char == "(" else -1
    best = max(best, run, key=len)
    return best if len(best) >= _LEAST else ""


def _end_of_escape(text: str, at: int) -> int:
    """Return the place behind what follows a backslash.

    After `x`, `u`, `U` or a digit more of them may belong to it, so none is kept.
    """
    at += 1
    if text[at - 1] in _NUMBERED:
        while at < len(text) and text[at] in _HEX:
            at += 1
    return at


def _end_of_class(text: str, at: int) -> int:
    """Return the place behind a class of characters that begins before `at`."""
    if text.startswith("^", at):
        at += 1
    if text.startswith("]", at):
        at += 1
    while at < len(text) and text[at] != "]":
        at += 2 if text[at] == "\\" else 1
    return at + 1


class LineSearch:
    """Searches each line of what it is fed by itself.

    Attributes:
        number: How many lines have ended so far.
        last: The last line, or part of one.
    """

    __slots__ = (
        "_carry",
        "_carry_at",
        "_counted",
        "_cut",
        "_decoder",
        "_encoding",
        "_file_id",
        "_found",
        "_left",
        "_needle",
        "_wanted",
        "last",
        "number",
    )

    def __init__(self, wanted: RegexInFile) -> None:
        self._wanted = wanted
        self._left = wanted.count
        self._encoding = wanted.encoding
        if codecs.lookup(wanted.encoding).name == "utf-8-sig":
            self._encoding = "utf-8"  # its mark is at the begin of a file alone
        self._decoder: codecs.IncrementalDecoder | None = None
        if not _is_ascii_compatible(self._encoding):
            self._encoding = "utf-8"
            self._decoder = codecs.getincrementaldecoder(wanted.encoding)("replace")
        literal = required_literal(wanted.pattern)
        self._needle = literal.encode(self._encoding, "replace") if literal else b""
        self._found: LineMatch | None = None
        self._carry = b""
        self._carry_at = 0  # where it begins in the file
        self._cut = False  # its begin was thrown away
        self._counted = False  # the unfinished line has matched already
        self._file_id = (0, 0)
        self.number: int = 0
        self.last: bytes = b""

    def feed(self, piece: Piece) -> LineMatch | None:
        """Search what comes; return the line that completes the count."""
        content, offset, fresh, inside, file_id = piece
        if fresh:
            self._restart(offset, inside=inside, file_id=file_id)
            if offset == 0 and content.startswith(_BOM) and self._decoder is None:
                content = content[len(_BOM) :]
                self._carry_at = len(_BOM)
        if self._decoder is not None:
            content = self._decoder.decode(content).encode()
        block = self._carry + content if self._carry else content
        end = block.rfind(b"\n") + 1
        found = self._search_whole(block, end) if end else None
        if end:
            self.last = block[block.rfind(b"\n", 0, end - 1) + 1 : end - 1][-200:]
            self._carry_at += self._width(block, end)
        self._carry = block[end:]
        if found is None and not self._wanted.whole_lines:
            found = self._search_rest()
        if self._carry:
            self.last = self._carry[-200:]
        self._trim()
        return found

    def _restart(self, offset: int, *, inside: bool, file_id: tuple[int, int]) -> None:
        if self._decoder is not None:
            self._decoder.reset()
        self._carry = b""
        self._carry_at = offset
        self._cut = inside
        self._counted = False
        self._file_id = file_id
        self.number = 0

    def forget_count(self) -> None:
        """Begin to count anew: the file is read anew."""
        self._left = self._wanted.count

    def _search_whole(self, block: bytes, stop: int) -> LineMatch | None:
        """Search lines that have ended."""
        found = None
        if not self._needle or self._cut or self._counted:
            first = block.find(b"\n") + 1
            found = self._one(block, 0, first - 1, self.number)
            self._cut = self._counted = False
            start, number = first, self.number + 1
        else:
            start, number = 0, self.number
        if found is None:
            search = self._with_needle if self._needle else self._each
            found = search(block, start, stop, number)
        self.number += block.count(b"\n")
        return found

    def _with_needle(
        self, block: bytes, at: int, stop: int, number: int
    ) -> LineMatch | None:
        needle = self._needle
        while (hit := block.find(needle, at, stop)) >= 0:
            start = block.rfind(b"\n", at, hit) + 1 or at
            end = block.find(b"\n", hit)
            number += block.count(b"\n", at, start)
            found = self._one(block, start, end, number)
            if found is not None:
                return found
            at = end + 1
            number += 1
        return None

    def _each(self, block: bytes, at: int, stop: int, number: int) -> LineMatch | None:
        text = block[at:stop].decode(self._encoding, "replace")
        if "\r" in text:
            text = text.replace("\r\n", "\n")
        search = self._wanted.pattern.search
        start, before = at, 0
        for index, line in enumerate(text.split("\n")[:-1]):
            if search(line) is None:
                continue

            for _ in range(index - before):
                start = block.find(b"\n", start) + 1
            before = index
            end = block.find(b"\n", start)
            found = self._one(block, start, end, number + index)
            if found is not None:
                return found
        return None

    def _search_rest(self) -> LineMatch | None:
        """Search the line that has not ended yet."""
        carry = self._carry
        if not carry or self._counted or (self._needle and self._needle not in carry):
            return None

        before = self._left
        found = self._one(carry, 0, len(carry), self.number, whole=False)
        self._counted = self._left < before
        return found

    def _one(
        self, block: bytes, start: int, end: int, number: int, *, whole: bool = True
    ) -> LineMatch | None:
        """Search one line; return it if it is the last that is wanted."""
        if self._counted and start == 0:
            return None

        decoder = codecs.getincrementaldecoder(self._encoding)("replace")
        line = decoder.decode(block[start:end], whole)  # half a character waits
        line = line.removesuffix("\r")
        cut = self._cut and start == 0
        search = self._wanted.pattern.search
        match = search(_CUT + line, 1) if cut else search(line)
        if match is None:
            return None

        self._left -= 1
        if self._left > 0:
            return None
        return LineMatch(
            match=match,
            line=line,
            number=number + 1,
            offset=self._carry_at + self._width(block, start),
            file_id=self._file_id,
        )

    def _trim(self) -> None:
        excess = len(self._carry) - self._wanted.window
        if excess > 0:
            self._carry_at += self._width(self._carry, excess)
            self._carry = self._carry[excess:]
            self._cut = True

    def _width(self, block: bytes, end: int) -> int:
        """Return how many bytes of the file the begin of a block of ours stands for."""
        if self._decoder is None or not end:
            return end
        name = self._wanted.encoding.lower().replace("_", "-")
        plain = {"utf-16": "utf-16-le", "utf-32": "utf-32-le"}.get(name, name)
        return len(block[:end].decode("utf-8", "replace").encode(plain, "replace"))


def _is_ascii_compatible(encoding: str) -> bool:
    """Tell whether ASCII text is the same bytes in it, line ends included."""
    try:
        return _ASCII.decode(encoding) == _ASCII.decode("ascii")
    except UnicodeError:
        return False
