"""Conditions on files and on what stands in them.

They are values; `repr` shows how to make them again. Paths are made absolute at the
call, so that a later change of the working directory does not matter.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from cup.errors import InvalidType, InvalidValue

from ._core_arguments import StrPath, absolute, one_of, seconds_of, whole_number
from .api import Condition, StateCondition

__all__ = ["FileComplete", "FileExists", "FileGone", "LineMatch", "RegexInFile"]

Kind: TypeAlias = Literal["any", "file", "dir"]
Start: TypeAlias = Literal["begin", "end"]


@dataclass(frozen=True, slots=True, init=False, repr=False)
class FileExists(StateCondition[Path]):
    """There is something at a path; the value is its path.

    Neither the path nor its parents need to be there. Symbolic links are followed; a
    link that leads nowhere is not there.

    Args:
        path: The path; with `glob`, the directory to look in.
        glob: A name, or a pattern of names as in a shell: `*.log`. Names that begin
            with a dot are only matched by patterns that do.
        recursive: With `glob`: look in all directories below, too, but not through
            symbolic links.
        kind: What it must be: `any`, `file` or `dir`.

    Raises:
        InvalidValue: If `glob` has a path separator, or `recursive` comes without it.
    """

    path: str
    glob: str | None
    recursive: bool
    kind: Kind

    def __init__(
        self,
        path: StrPath,
        *,
        glob: str | None = None,
        recursive: bool = False,
        kind: Kind = "any",
    ) -> None:
        one_of(kind, "kind", ("any", "file", "dir"))
        if glob is not None and (not glob or "/" in glob or os.sep in glob):
            raise InvalidValue(f"glob={glob!r} is no pattern of one name")
        if recursive and glob is None:
            raise InvalidValue("recursive needs a glob: the names to look for")
        object.__setattr__(self, "path", absolute(path))
        object.__setattr__(self, "glob", glob)
        object.__setattr__(self, "recursive", recursive)
        object.__setattr__(self, "kind", kind)

    def __repr__(self) -> str:
        text = repr(self.path)
        if self.glob is not None:
            text += f", glob={self.glob!r}"
        if self.recursive:
            text += ", recursive=True"
        if self.kind != "any":
            text += f", kind={self.kind!r}"
        return f"FileExists({text})"


@dataclass(frozen=True, slots=True, init=False)
class FileGone(StateCondition[None]):
    """There is nothing at a path (any more); a link that leads nowhere counts as such.

    Args:
        path: The path.
    """

    path: str

    def __init__(self, path: StrPath) -> None:
        object.__setattr__(self, "path", absolute(path))

    def __repr__(self) -> str:
        return f"FileGone({self.path!r})"


@dataclass(frozen=True, slots=True, init=False)
class FileComplete(Condition[Path]):
    """A file is there and nobody writes to it any more; the value is its path.

    It is complete when neither content nor name has changed for `quiet` seconds, and
    no writer that was seen at work still has it open. What is written through shared
    memory is not noticed before the file is closed.

    Args:
        path: The path of a regular file.
        quiet: Seconds without a change.

    Raises:
        InvalidValue: If `quiet` is no finite number.
    """

    path: str
    quiet: float

    def __init__(self, path: StrPath, quiet: float = 0.2) -> None:
        object.__setattr__(self, "path", absolute(path))
        object.__setattr__(self, "quiet", seconds_of(quiet, "quiet"))

    def __repr__(self) -> str:
        return f"FileComplete({self.path!r}, quiet={self.quiet:g})"


@dataclass(frozen=True, slots=True, kw_only=True)
class LineMatch:
    """A line that was found.

    Attributes:
        match: What the pattern matched in the line.
        line: The line, without its end.
        number: Its number in the file as it was read, from 1 on; with `start="end"`
            it counts from where the wait began.
        offset: Where it begins in the file, in bytes.
        file_id: Device and inode of the file: it tells which of several rotated ones.
    """

    match: re.Match[str] = field(compare=False)
    line: str
    number: int
    offset: int
    file_id: tuple[int, int]


def _refuse_bytes(pattern: object) -> None:
    if not isinstance(pattern, str):
        raise InvalidType(f"{pattern!r} is a pattern of bytes; give text")


@dataclass(frozen=True, slots=True, init=False)
class RegexInFile(Condition[LineMatch]):
    r"""A line of a file matches a pattern; the value is a `LineMatch`.

    The file need not be there yet, may grow, be rotated, replaced or truncated; what
    was written last to a file that is rotated away is read, too. Each line is searched
    by itself, without its `\n` or `\r\n`; so `^` and `$` are its begin and end.

    Memory is bounded: of a line longer than `window` bytes only its last `window` are
    searched at its end, and each part of it as it comes.

    Args:
        path: The path of a regular file.
        pattern: A regular expression, as text or compiled.
        start: Where to begin in a file that is there already: `begin` or `end`. One
            that appears later is read from its begin.
        count: How many lines have to match; the value is the last of them.
        whole_lines: Do not look at a last line that has no end yet.
        window: Bytes of an unfinished line that are kept.
        encoding: Of the file; what cannot be decoded is replaced by U+FFFD.

    Raises:
        re.error: If the pattern is none.
        InvalidType: If it is not of text.
        InvalidValue: If another argument makes no sense.
    """

    path: str
    pattern: re.Pattern[str]
    start: Start
    count: int
    whole_lines: bool
    window: int
    encoding: str

    def __init__(
        self,
        path: StrPath,
        pattern: str | re.Pattern[str],
        *,
        start: Start = "begin",
        count: int = 1,
        whole_lines: bool = False,
        window: int = 65536,
        encoding: str = "utf-8",
    ) -> None:
        compiled = re.compile(pattern)
        _refuse_bytes(compiled.pattern)
        one_of(start, "start", ("begin", "end"))
        whole_number(count, "count")
        whole_number(window, "window")
        if count < 1:
            raise InvalidValue(f"count={count}: give 1 or more")
        if window < 16:  # noqa: PLR2004 - the longest character, with room
            raise InvalidValue(f"window={window}: give 16 bytes or more")
        try:
            "".encode(encoding)
        except LookupError:
            raise InvalidValue(f"encoding={encoding!r} is unknown") from None
        object.__setattr__(self, "path", absolute(path))
        object.__setattr__(self, "pattern", compiled)
        object.__setattr__(self, "start", start)
        object.__setattr__(self, "count", count)
        object.__setattr__(self, "whole_lines", whole_lines)
        object.__setattr__(self, "window", window)
        object.__setattr__(self, "encoding", encoding)

    def __repr__(self) -> str:
        text = f"{self.path!r}, {self.pattern.pattern!r}"
        if self.start != "begin":
            text += f", start={self.start!r}"
        if self.count != 1:
            text += f", count={self.count}"
        return f"RegexInFile({text})"
