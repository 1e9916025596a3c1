"""Logging into one file, over the standard `logging`.

One call sets up the root logger of the process; from then on these functions, and every
`logging.getLogger(...)` of any library, write into that file::

    from cup import log

    log.init_comlog("app", log.INFO, "logs/app.log", maxlogsize=50 * 1024 * 1024)
    log.info("started")
    log.warn("%s is late by %.1f s", "backup", 2.5)

Before `init_comlog` the functions log to the root logger as it is. A message without
arguments is written as it stands, whatever `%` or `{}` it contains.

A line tells the level, the local time, the process and thread, and the file and line of
the caller; `parse` takes it apart again::

    INFO:	 2025-03-01 12:00:00,123 * [4711:139901983938272] [app.py:6] started

The `x` functions do the same for further loggers, each with a file of its own. All of
this is thread-safe and goes on in forked children; several processes may write, and
rotate, one file. Logging works in signal handlers, setting up does not.
"""

from __future__ import annotations

import logging
import os
import warnings
from typing import Final, TypeAlias, overload

from cup._log_setup import (
    INFINITE,
    ROTATION,
    LoggerParams,
    LogLine,
    checked_level,
    parse_line,
    set_up,
)
from cup.errors import InvalidType, InvalidValue

__all__ = [
    "CRITICAL",
    "DEBUG",
    "ERROR",
    "FATAL",
    "INFINITE",
    "INFO",
    "ROTATION",
    "WARN",
    "WARNING",
    "LogLine",
    "LoggerParams",
    "critical",
    "debug",
    "error",
    "exception",
    "fatal",
    "info",
    "init_comlog",
    "parse",
    "reinit_comlog",
    "setloglevel",
    "warn",
    "warning",
    "xcritical",
    "xdebug",
    "xerror",
    "xinfo",
    "xinit_comlog",
    "xwarn",
]

DEBUG: Final = logging.DEBUG
INFO: Final = logging.INFO
WARNING: Final = logging.WARNING
WARN: Final = logging.WARNING
ERROR: Final = logging.ERROR
CRITICAL: Final = logging.CRITICAL
FATAL: Final = logging.CRITICAL

_ExcInfo: TypeAlias = bool | BaseException | None
_LogPath: TypeAlias = str | os.PathLike[str]

_root = logging.getLogger()


def init_comlog(  # noqa: PLR0917 - the old signature
    loggername: str,
    loglevel: int | str = INFO,
    logfile: _LogPath = "cup.log",
    logtype: int = ROTATION,
    maxlogsize: int = 1073741824,
    bprint_console: bool = False,
    gen_wf: bool = False,
) -> None:
    """Set up the log of this process.

    A second call keeps the first set-up and warns; `reinit_comlog` replaces it.

    Args:
        loggername: A name for this log, for the warning of a second call.
        loglevel: The lowest level that is written: `log.INFO` or `"INFO"`.
        logfile: The file, appended to. Its directory is made if there is none.
        logtype: `log.ROTATION` or `log.INFINITE`.
        maxlogsize: Bytes after which a file is rotated: it becomes `cup.log.1`, that
            one `cup.log.2`, up to 30. Unused with `log.INFINITE`.
        bprint_console: Print the lines on stderr, too.
        gen_wf: Write WARNING and above to a file of their own, `cup.log.wf`, and only
            what is below to `cup.log`.

    Raises:
        InvalidType: If a parameter has the wrong type.
        InvalidValue: If the level, the type or the size makes no sense.
        LoggerException: If the file cannot be written.
    """
    params = LoggerParams(
        loglevel, logfile, logtype, maxlogsize, bprint_console, gen_wf
    )
    if not set_up(None, params):
        _warn_kept(f"init_comlog({loggername!r})", "reinit_comlog replaces it")


def reinit_comlog(  # noqa: PLR0917 - the old signature
    loggername: str,  # noqa: ARG001 - the same
    loglevel: int | str = INFO,
    logfile: _LogPath = "cup.log",
    logtype: int = ROTATION,
    maxlogsize: int = 1073741824,
    bprint_console: bool = False,
    gen_wf: bool = False,
) -> None:
    """Set up the log of this process anew, in place of what `init_comlog` did.

    If that fails, the former set-up stays. The parameters and errors are those of
    `init_comlog`.
    """
    params = LoggerParams(
        loglevel, logfile, logtype, maxlogsize, bprint_console, gen_wf
    )
    set_up(None, params, replace=True)


def setloglevel(logginglevel: int | str) -> None:
    """Change the lowest level that is written.

    Raises:
        InvalidType: If it is neither a number nor a name.
        InvalidValue: If it is negative, or a name that is no level.
    """
    _root.setLevel(checked_level(logginglevel))


def parse(logline: str) -> LogLine | None:
    """Take a line of the log apart.

    Returns:
        A dict with `loglevel date time pid tid srcline msg`, each as text; None for a
        line that is none of ours, such as one of a traceback.
    """
    return parse_line(logline)


def debug(
    msg: object, *args: object, exc_info: _ExcInfo = None, stacklevel: int = 1
) -> None:
    """Log with level DEBUG.

    Args:
        msg: The message; with arguments it is `msg % args`.
        args: What is put into the message, if the level is written at all.
        exc_info: An exception whose traceback follows; True for the current one.
        stacklevel: Whose file and line the record carries: 1 the caller's, 2 that of
            who called the caller.
    """
    _root.log(DEBUG, msg, *args, exc_info=exc_info, stacklevel=stacklevel + 1)


def info(
    msg: object, *args: object, exc_info: _ExcInfo = None, stacklevel: int = 1
) -> None:
    """Log with level INFO; the parameters are those of `debug`."""
    _root.log(INFO, msg, *args, exc_info=exc_info, stacklevel=stacklevel + 1)


def warn(
    msg: object, *args: object, exc_info: _ExcInfo = None, stacklevel: int = 1
) -> None:
    """Log with level WARNING; the parameters are those of `debug`."""
    _root.log(WARNING, msg, *args, exc_info=exc_info, stacklevel=stacklevel + 1)


warning = warn


def error(
    msg: object, *args: object, exc_info: _ExcInfo = None, stacklevel: int = 1
) -> None:
    """Log with level ERROR; the parameters are those of `debug`."""
    _root.log(ERROR, msg, *args, exc_info=exc_info, stacklevel=stacklevel + 1)


def exception(
    msg: object, *args: object, exc_info: _ExcInfo = True, stacklevel: int = 1
) -> None:
    """Log with level ERROR and the traceback of the current exception."""
    _root.log(ERROR, msg, *args, exc_info=exc_info, stacklevel=stacklevel + 1)


def critical(
    msg: object, *args: object, exc_info: _ExcInfo = None, stacklevel: int = 1
) -> None:
    """Log with level CRITICAL; the parameters are those of `debug`."""
    _root.log(CRITICAL, msg, *args, exc_info=exc_info, stacklevel=stacklevel + 1)


fatal = critical


@overload
def xinit_comlog(loggername: str, logger_params: LoggerParams, /) -> None: ...


@overload
def xinit_comlog(loggername: str, *, logger_params: LoggerParams) -> None: ...


@overload
def xinit_comlog(
    loggername: str,
    loglevel: int | str = ...,
    logfile: _LogPath = ...,
    logtype: int = ...,
    maxlogsize: int = ...,
    bprint_console: bool = ...,
    gen_wf: bool = ...,
) -> None: ...


def xinit_comlog(  # noqa: PLR0917 - that of init_comlog
    loggername: str,
    loglevel: int | str | LoggerParams = INFO,
    logfile: _LogPath = "cup.log",
    logtype: int = ROTATION,
    maxlogsize: int = 1073741824,
    bprint_console: bool = False,
    gen_wf: bool = False,
    *,
    logger_params: LoggerParams | None = None,
) -> None:
    """Set up a further logger with a file of its own.

    Its lines go to this file alone, not to that of `init_comlog`. A second call for the
    same logger keeps the first set-up and warns.

    Args:
        loggername: The logger, as in `logging.getLogger(loggername)`.
        loglevel: As in `init_comlog`; or all parameters at once, as `LoggerParams`.
        logfile: As in `init_comlog`.
        logtype: As in `init_comlog`.
        maxlogsize: As in `init_comlog`.
        bprint_console: As in `init_comlog`.
        gen_wf: As in `init_comlog`.
        logger_params: All parameters at once, by name.

    Raises:
        InvalidType: If a parameter has the wrong type.
        InvalidValue: If the name is empty, or the level, type or size makes no sense.
        LoggerException: If the file cannot be written.
    """
    if logger_params is None:
        logger_params = (
            loglevel
            if isinstance(loglevel, LoggerParams)
            else LoggerParams(
                loglevel, logfile, logtype, maxlogsize, bprint_console, gen_wf
            )
        )
    _expect_name(loggername)
    if not set_up(loggername, logger_params):
        _warn_kept(f"xinit_comlog({loggername!r})", "use another name for another log")


def xdebug(
    loggername: str,
    msg: object,
    *args: object,
    exc_info: _ExcInfo = None,
    stacklevel: int = 1,
) -> None:
    """Log with level DEBUG to a logger of `xinit_comlog`; see `debug`."""
    logger = logging.getLogger(loggername)
    logger.log(DEBUG, msg, *args, exc_info=exc_info, stacklevel=stacklevel + 1)


def xinfo(
    loggername: str,
    msg: object,
    *args: object,
    exc_info: _ExcInfo = None,
    stacklevel: int = 1,
) -> None:
    """Log with level INFO to a logger of `xinit_comlog`; see `debug`."""
    logger = logging.getLogger(loggername)
    logger.log(INFO, msg, *args, exc_info=exc_info, stacklevel=stacklevel + 1)


def xwarn(
    loggername: str,
    msg: object,
    *args: object,
    exc_info: _ExcInfo = None,
    stacklevel: int = 1,
) -> None:
    """Log with level WARNING to a logger of `xinit_comlog`; see `debug`."""
    logger = logging.getLogger(loggername)
    logger.log(WARNING, msg, *args, exc_info=exc_info, stacklevel=stacklevel + 1)


def xerror(
    loggername: str,
    msg: object,
    *args: object,
    exc_info: _ExcInfo = None,
    stacklevel: int = 1,
) -> None:
    """Log with level ERROR to a logger of `xinit_comlog`; see `debug`."""
    logger = logging.getLogger(loggername)
    logger.log(ERROR, msg, *args, exc_info=exc_info, stacklevel=stacklevel + 1)


def xcritical(
    loggername: str,
    msg: object,
    *args: object,
    exc_info: _ExcInfo = None,
    stacklevel: int = 1,
) -> None:
    """Log with level CRITICAL to a logger of `xinit_comlog`; see `debug`."""
    logger = logging.getLogger(loggername)
    logger.log(CRITICAL, msg, *args, exc_info=exc_info, stacklevel=stacklevel + 1)


def _warn_kept(call: str, instead: str) -> None:
    warnings.warn(
        f"{call}: this log is set up already, and stays as it is; {instead}",
        RuntimeWarning,
        stacklevel=3,
    )


def _expect_name(loggername: object) -> None:
    if not isinstance(loggername, str):
        raise InvalidType(f"loggername is {loggername!r}; give the name of a logger")

    if loggername in ("", "root"):
        raise InvalidValue(
            f"loggername is {loggername!r}; the root logger is set up by init_comlog"
        )
