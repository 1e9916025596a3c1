"""How a log line looks, and what a logger is given at its set-up.

Not here: writing and rotating the file (`_log_file`), the public functions (`log`).
"""

from __future__ import annotations

import logging
import re
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypedDict

from cup._core import fork
from cup._log_file import Below, Console, LogFile
from cup.errors import InvalidType, InvalidValue, LoggerException

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

ROTATION: Final = 0
INFINITE: Final = 1

_LINE: Final = (
    "%(levelname)s:\t %(asctime)s * "
    "[%(process)d:%(thread)d] [%(filename)s:%(lineno)d] %(message)s"
)
_PARSED: Final = re.compile(
    r"(?P<loglevel>[^\s:]+):\s+(?P<date>\d{4}-\d\d-\d\d)\s+(?P<time>\S+)\s+\*\s+"
    r"\[(?P<pid>\d+):(?P<tid>[0-9a-fA-F]+)\]\s+\[(?P<srcline>.+?:\d+)\]\s?(?P<msg>.*)",
    re.DOTALL,
)
_OF_THE_SYSTEM: Final = {("dev",), ("dev", "fd"), ("proc", "self", "fd")}
_LEVELS: Final = {
    "NOTSET": logging.NOTSET,
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARN": logging.WARNING,
    "WARNING": logging.WARNING,
    "ERROR": logging.ERROR,
    "CRITICAL": logging.CRITICAL,
    "FATAL": logging.CRITICAL,
}


class LoggerParams(NamedTuple):
    """What a log is set up with; `init_comlog` tells each parameter."""

    loglevel: int | str = logging.INFO
    logfile: str | os.PathLike[str] = "cup.log"
    logtype: int = ROTATION
    maxlogsize: int = 1073741824
    bprint_console: bool = False
    gen_wf: bool = False


class LogLine(TypedDict):
    """A line of the log in its parts, each as it is written there."""

    loglevel: str
    date: str
    time: str
    pid: str
    tid: str
    srcline: str
    msg: str


def parse_line(line: str) -> LogLine | None:
    """Return the parts of a line, None if it is none of ours."""
    found = _PARSED.fullmatch(line.rstrip("\r\n"))
    if found is None:
        return None

    return LogLine(
        loglevel=found["loglevel"],
        date=found["date"],
        time=found["time"],
        pid=found["pid"],
        tid=found["tid"],
        srcline=found["srcline"],
        msg=found["msg"],
    )


def checked_level(level: int | str) -> int:
    """Return a level as a number.

    Raises:
        InvalidType: If it is neither a number nor a name.
        InvalidValue: If it is negative, or a name that is no level.
    """
    if isinstance(level, str):
        number = _LEVELS.get(level.upper())
        if number is None:
            raise InvalidValue(
                f"{level!r} is no log level; use one of {', '.join(_LEVELS)}"
            )
        return number

    _expect_int("loglevel", level, "log.DEBUG, log.INFO and so on")
    if level < 0:
        raise InvalidValue(f"loglevel is {level}; use log.DEBUG, log.INFO and so on")
    return level


class _Installed(NamedTuple):
    """What a logger was given, to be taken away again."""

    params: LoggerParams
    handlers: Sequence[logging.Handler]


_installed: dict[str | None, _Installed] = {}
"""By the name of the logger, None for the root."""

_locks: dict[int, threading.Lock] = {}


def is_set_up() -> bool:
    """Tell whether the root logger was set up."""
    return None in _installed


def set_up(name: str | None, params: LoggerParams, *, replace: bool = False) -> bool:
    """Give a logger its handlers; return False, and change nothing, if it has them.

    Args:
        name: The logger, None for the root.
        params: What it is set up with.
        replace: Take away what it has; it stays if the new set-up fails.

    Raises:
        InvalidType: If a parameter has the wrong type.
        InvalidValue: If a parameter makes no sense.
        LoggerException: If the file cannot be written.
    """
    # One lock per process of a fork family: a child inherits none that is taken.
    with _locks.setdefault(fork.generation(), threading.Lock()):
        former = _installed.get(name)
        if former is not None and not replace:
            return False

        level = checked_level(params.loglevel)
        handlers = _make_handlers(params)
        logger = logging.getLogger(name)
        for handler in handlers:
            logger.addHandler(handler)
        logger.setLevel(level)
        _installed[name] = _Installed(params, handlers)
        if name is not None:
            logger.propagate = False  # its lines belong to its own file alone

    for handler in former.handlers if former is not None else ():
        logger.removeHandler(handler)
        handler.close()
    return True


class _LineFormatter(logging.Formatter):
    """Lose no line whose arguments do not fit its message."""

    def format(self, record: logging.LogRecord) -> str:
        try:
            return super().format(record)
        except Exception:
            if not record.args:
                raise
            record.msg = f"{record.msg} {record.args!r}"
            record.args = None
            return super().format(record)


def _make_handlers(params: LoggerParams) -> list[logging.Handler]:
    limit = _checked_limit(params)
    path = _checked_path(params.logfile)
    if path.parts[1:-1] in _OF_THE_SYSTEM:
        limit = 0  # `/dev/stdout` may lead to a file, and is not ours to move away
    handlers: list[logging.Handler] = [_open_log(path, limit)]
    try:
        if params.gen_wf:
            handlers.append(_open_log(Path(f"{path}.wf"), limit))
            handlers[0].addFilter(Below(logging.WARNING))
            handlers[1].setLevel(logging.WARNING)
    except BaseException:
        handlers[0].close()
        raise

    if params.bprint_console:
        handlers.append(Console())

    for handler in handlers:
        handler.setFormatter(_LineFormatter(_LINE))
    return handlers


def _checked_limit(params: LoggerParams) -> int:
    """Return the size that rotates the file, 0 for none."""
    _expect_int("logtype", params.logtype, "log.ROTATION or log.INFINITE")
    if params.logtype == INFINITE:
        return 0

    if params.logtype != ROTATION:
        raise InvalidValue(
            f"logtype is {params.logtype}; use log.ROTATION or log.INFINITE"
        )

    _expect_int("maxlogsize", params.maxlogsize, "a number of bytes")
    if params.maxlogsize <= 0:
        raise InvalidValue(
            f"maxlogsize is {params.maxlogsize}; give the bytes after which the file "
            "is rotated, or logtype=log.INFINITE"
        )
    return params.maxlogsize


def _checked_path(logfile: str | os.PathLike[str]) -> Path:
    try:
        path = Path(logfile).absolute()  # a later chdir does not move the log
    except TypeError as error:
        raise InvalidType(f"logfile is {logfile!r}; give a path as text") from error

    if "\0" in str(path):
        raise InvalidValue(f"logfile is {logfile!r}; give the path of a file")
    return path


def _open_log(path: Path, limit: int) -> LogFile:
    try:
        mode = path.stat().st_mode
    except OSError:
        mode = stat.S_IFREG  # whether it can be made, opening it tells

    if not (stat.S_ISREG(mode) or stat.S_ISCHR(mode)):
        raise LoggerException(f"{str(path)!r} is no file; choose another logfile")

    try:
        return LogFile(path, limit)
    except OSError as error:
        raise LoggerException(
            f"cannot write the log {str(path)!r}: {error.strerror}; choose another "
            "logfile, or make its directory writable"
        ) from error


def _expect_int(what: str, value: object, instead: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidType(f"{what} is {value!r}; give {instead}")
