"""Assertions that show both values, and test cases that run as a script.

The assertions work under any test runner. A case is a class with a `test_run`; it runs
on its own, and its exit status tells what came of it::

    from cup import log, unittest

    class FolderCase(unittest.CUTCase):
        def test_run(self):
            log.info("looking")
            unittest.assert_eq(1 + 1, 2)

    if __name__ == "__main__":
        unittest.CCaseExecutor().runcase(FolderCase())

A failed assertion is also logged, with level CRITICAL, once the log is set up.
"""

from __future__ import annotations

import filecmp
import logging
import operator
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, ParamSpec, TypeVar

from cup import _log_setup, log
from cup.errors import ExpectFailure

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Container, Iterable

__all__ = [
    "CCaseExecutor",
    "CUTCase",
    "assert_boundary",
    "assert_eq",
    "assert_eq_one",
    "assert_false",
    "assert_ge",
    "assert_gt",
    "assert_in",
    "assert_le",
    "assert_local_file_eq",
    "assert_lt",
    "assert_ne",
    "assert_none",
    "assert_not_eq",
    "assert_not_in",
    "assert_startswith",
    "assert_true",
    "expect_raise",
]

_P = ParamSpec("_P")
_E = TypeVar("_E", bound=BaseException)

_LONGEST: Final = 2000  # characters of a value in a message
_LOG_SIZE: Final = 5 * 1024 * 1024


class CUTCase:
    """A test case: derive from it and write `test_run`.

    Args:
        logfile: The log of the case; it is set up unless the process has one already.
        b_logstd: Print the log on stderr, too.
        b_debug: Log from level DEBUG on, instead of INFO.

    Raises:
        LoggerException: If the log cannot be written.
    """

    def __init__(
        self,
        logfile: str | os.PathLike[str] = "./test.log",
        b_logstd: int = False,
        b_debug: int = False,
    ) -> None:
        self._result = False
        if not _log_setup.is_set_up():
            log.init_comlog(
                "test_case",
                log.DEBUG if b_debug else log.INFO,
                logfile,
                log.ROTATION,
                _LOG_SIZE,
                bool(b_logstd),
            )

    def setup(self) -> None:
        """Prepare; a method `setUp` of the case is called in its place."""

    def test_run(self) -> None:
        """Test something."""

    def fail_teardown(self) -> None:
        """Clean up after a failure, before `teardown`."""

    def teardown(self) -> None:
        """Clean up, whatever came of it; a method `tearDown` is called in its place."""

    def set_result(self, b_result: bool) -> None:
        """Keep whether the case passed; the executor calls it before `teardown`."""
        self._result = b_result

    def get_result(self) -> bool:
        """Return whether the case passed."""
        return self._result


class CCaseExecutor:
    """Runs a case as a script does."""

    @classmethod
    def runcase(cls, case: CUTCase) -> None:
        """Run a case, print Passed or Failed, and exit with status 1 if it failed.

        The steps are `setup`, `test_run`, `set_result`, after a failure
        `fail_teardown`, and always `teardown`. What fails is printed on stderr; a
        failing clean-up fails the case. `KeyboardInterrupt` and `SystemExit` end the
        case with a `teardown` and go on.

        Raises:
            SystemExit: If the case failed.
        """
        try:
            passed = _attempt(lambda: _run(case))
            case.set_result(passed)
            if not passed:
                _attempt(case.fail_teardown)
        except BaseException:
            _attempt(_step(case, "teardown", "tearDown"))
            raise

        passed = _attempt(_step(case, "teardown", "tearDown")) and passed
        _print_verdict("Passed" if passed else "Failed")
        if not passed:
            sys.exit(1)


def assert_true(val: object, errmsg: object = "") -> None:
    """Expect `val is True`; a true value that is no bool fails."""
    if val is not True:
        _fail(f"got {_show(val)}, expect True", errmsg)


def assert_false(val: object, errmsg: object = "") -> None:
    """Expect `val is False`; a false value that is no bool fails."""
    if val is not False:
        _fail(f"got {_show(val)}, expect False", errmsg)


def assert_eq(val: object, exp: object, errmsg: object = "") -> None:
    """Expect `val == exp`."""
    if not val == exp:  # noqa: SIM201 - the operator that is asked for
        _fail(f"got {_show(val)}, expect {_show(exp)}", errmsg)


def assert_not_eq(val: object, exp: object, errmsg: object = "") -> None:
    """Expect `val != exp`."""
    if not val != exp:  # noqa: SIM202 - the operator that is asked for
        _fail(f"got {_show(val)}, expect other than {_show(exp)}", errmsg)


assert_ne = assert_not_eq


def assert_lt(val: object, exp: object, errmsg: object = "") -> None:
    """Expect `val < exp`."""
    if not _holds(operator.lt, val, exp):
        _fail(f"got {_show(val)}, expect less than {_show(exp)}", errmsg)


def assert_gt(val: object, exp: object, errmsg: object = "") -> None:
    """Expect `val > exp`."""
    if not _holds(operator.gt, val, exp):
        _fail(f"got {_show(val)}, expect greater than {_show(exp)}", errmsg)


def assert_le(val: object, exp: object, errmsg: object = "") -> None:
    """Expect `val <= exp`."""
    if not _holds(operator.le, val, exp):
        _fail(f"got {_show(val)}, expect at most {_show(exp)}", errmsg)


def assert_ge(val: object, exp: object, errmsg: object = "") -> None:
    """Expect `val >= exp`."""
    if not _holds(operator.ge, val, exp):
        _fail(f"got {_show(val)}, expect at least {_show(exp)}", errmsg)


def assert_boundary(
    val: object, low: object, high: object, errmsg: object = ""
) -> None:
    """Expect `low <= val <= high`."""
    if not (_holds(operator.le, low, val) and _holds(operator.le, val, high)):
        _fail(f"got {_show(val)}, expect {_show(low)} to {_show(high)}", errmsg)


def assert_in(
    val: object, iterables: Container[object] | Iterable[object], errmsg: object = ""
) -> None:
    """Expect `val in iterables`."""
    if val not in iterables:
        _fail(f"got {_show(val)}, expect one in {_show(iterables)}", errmsg)


def assert_not_in(
    val: object, iterables: Container[object] | Iterable[object], errmsg: object = ""
) -> None:
    """Expect `val not in iterables`."""
    if val in iterables:
        _fail(f"got {_show(val)}, expect none in {_show(iterables)}", errmsg)


def assert_eq_one(val: object, array: Iterable[object], errmsg: object = "") -> None:
    """Expect `val` to equal one of the items."""
    items = list(array)
    if val not in items:
        _fail(f"got {_show(val)}, expect one of {_show(items)}", errmsg)


def assert_startswith(source: str, comp: str, errmsg: object = "") -> None:
    """Expect a text to start with another."""
    if not source.startswith(comp):
        _fail(f"got {_show(source)}, expect it to start with {_show(comp)}", errmsg)


def assert_none(source: object, errmsg: object = "") -> None:
    """Expect `source is None`."""
    if source is not None:
        _fail(f"got {_show(source)}, expect None", errmsg)


def assert_local_file_eq(
    srcfile: str | os.PathLike[str],
    dstfile: str | os.PathLike[str],
    errmsg: object = "",
) -> None:
    """Expect two files with the same content."""
    got, expected = Path(srcfile), Path(dstfile)
    for path in (got, expected):
        if not path.is_file():
            _fail(f"got no file at {str(path)!r}, expect one", errmsg)

    if not filecmp.cmp(got, expected, shallow=False):
        sizes = f"{got.stat().st_size} and {expected.stat().st_size} bytes"
        _fail(
            f"got {str(got)!r}, expect the content of {str(expected)!r}: {sizes}",
            errmsg,
        )


def expect_raise(
    function: Callable[_P, object],
    exception: type[_E] | tuple[type[_E], ...],
    *args: _P.args,
    **kwargs: _P.kwargs,
) -> _E:
    """Expect `function(*args, **kwargs)` to raise; another exception goes through.

    Returns:
        The exception, to look into.

    Raises:
        ExpectFailure: If the function returns; it is an AssertionError.
    """
    try:
        got = function(*args, **kwargs)
    except exception as error:
        return error

    raise ExpectFailure(f"got {_show(got)}, expect {_show(exception)} to be raised")


def _run(case: CUTCase) -> None:
    _step(case, "setup", "setUp")()
    case.test_run()


def _step(case: CUTCase, name: str, alias: str) -> Callable[[], None]:
    """Return a method of the case, or the one of the other spelling if it has that."""
    own = getattr(type(case), name, None) is not getattr(CUTCase, name)
    step: Callable[[], None] = getattr(case, name)
    return step if own else getattr(case, alias, step)


def _attempt(step: Callable[[], None]) -> bool:
    try:
        step()
    except Exception:  # whatever fails in a case fails the case
        sys.stderr.write(traceback.format_exc())
        if _log_setup.is_set_up():
            logging.getLogger().exception("the case failed")
        return False
    return True


def _print_verdict(verdict: str) -> None:
    line = f"======== {verdict} ========"
    frame = "=" * len(line)
    sys.stdout.write(f"{frame}\n{line}\n{frame}\n")
    sys.stdout.flush()


def _holds(compare: Callable[[Any, Any], object], left: object, right: object) -> bool:
    """Compare two values; whether they can be compared is theirs to say."""
    return bool(compare(left, right))


def _show(value: object) -> str:
    text = repr(value)
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST]}... ({len(text)} characters)"


def _fail(message: str, errmsg: object) -> NoReturn:
    if errmsg not in ("", None):
        message = f"{message}: {errmsg}"
    if _log_setup.is_set_up():
        log.critical(message, stacklevel=3)
    raise AssertionError(message)
