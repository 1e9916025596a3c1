"""Assertions that show both values, and cases that run as scripts."""

import os
import subprocess
import sys
import unittest as standard

import pytest

import cup.unittest
from cup import _log_setup
from cup.errors import ExpectFailure

ours = cup.unittest

SEED_CASE = """
import time

import cup
from cup import log
from cup import unittest


class TestMyCase(unittest.CUTCase):
    def __init__(self):
        super(self.__class__, self).__init__(
            './test.log', log.DEBUG
        )
        log.info('Start to run ' + str(__file__))

    def setup(self):
        self._info = 1

    def test_run(self):
        unittest.assert_eq(self._info, 1)

    def teardown(self):
        cup.log.info('End running ' + str(__file__) + str(self.get_result()))


if __name__ == '__main__':
    cup.unittest.CCaseExecutor().runcase(TestMyCase())
"""


class Recorded(ours.CUTCase):
    """A case that fails in the steps it is told to."""

    def __init__(self, logfile, *failing, error=ValueError):
        super().__init__(logfile)
        self.steps = []
        self._failing = failing
        self._error = error

    def _step(self, name):
        self.steps.append(name)
        if name in self._failing:
            raise self._error(f"{name} went wrong")

    def setup(self):
        self._step("setup")

    def test_run(self):
        self._step("test_run")

    def set_result(self, b_result):
        super().set_result(b_result)
        self._step(f"set_result {b_result}")

    def fail_teardown(self):
        self._step("fail_teardown")

    def teardown(self):
        self._step(f"teardown {self.get_result()}")


@pytest.fixture(autouse=True)
def set_up_already(monkeypatch):
    """Let cases find a log, so that none sets up the root logger of this process."""
    monkeypatch.setitem(_log_setup._installed, None, object())


def run_script(tmp_path, text):
    script = tmp_path / "case.py"
    script.write_text(text)
    return subprocess.run(
        [sys.executable, script.name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


# Assertions

PASSING = [
    ("assert_true", (True,)),
    ("assert_false", (False,)),
    ("assert_eq", (1, 1.0)),
    ("assert_eq", ("a", "a", "why")),
    ("assert_not_eq", (1, 2)),
    ("assert_ne", ("a", "b")),
    ("assert_lt", (1, 2)),
    ("assert_gt", (2.5, 1)),
    ("assert_le", (1, 1)),
    ("assert_ge", ("b", "a")),
    ("assert_in", (1, [1, 2])),
    ("assert_in", ("ell", "hello")),
    ("assert_in", ("key", {"key": 1})),
    ("assert_not_in", (3, (1, 2))),
    ("assert_eq_one", (2, iter([1, 2]))),
    ("assert_boundary", (1, 1, 1)),
    ("assert_boundary", (2, 1, 3)),
    ("assert_startswith", ("hello", "he")),
    ("assert_none", (None,)),
]

FAILING = [
    ("assert_true", (False,), "got False, expect True"),
    ("assert_true", (1,), "got 1, expect True"),
    ("assert_false", (True,), "got True, expect False"),
    ("assert_false", (0,), "got 0, expect False"),
    ("assert_eq", (1, "1"), "got 1, expect '1'"),
    ("assert_eq", (float("nan"), 1), "got nan, expect 1"),
    ("assert_not_eq", (1, 1), "got 1, expect other than 1"),
    ("assert_ne", ("a", "a"), "got 'a', expect other than 'a'"),
    ("assert_lt", (2, 2), "got 2, expect less than 2"),
    ("assert_gt", (2, 2), "got 2, expect greater than 2"),
    ("assert_le", (3, 2), "got 3, expect at most 2"),
    ("assert_ge", (1, 2), "got 1, expect at least 2"),
    ("assert_lt", (float("nan"), 2), "got nan, expect less than 2"),
    ("assert_in", (3, [1, 2]), "got 3, expect one in [1, 2]"),
    ("assert_not_in", (1, [1, 2]), "got 1, expect none in [1, 2]"),
    ("assert_eq_one", (3, iter([1, 2])), "got 3, expect one of [1, 2]"),
    ("assert_boundary", (0, 1, 3), "got 0, expect 1 to 3"),
    ("assert_boundary", (4, 1, 3), "got 4, expect 1 to 3"),
    (
        "assert_startswith",
        ("hello", "x"),
        "got 'hello', expect it to start with 'x'",
    ),
    ("assert_none", (0,), "got 0, expect None"),
]


@pytest.fixture
def logged(monkeypatch):
    """Collect what a failed assertion logs."""
    messages = []
    monkeypatch.setattr(
        ours.log, "critical", lambda message, **kwargs: messages.append(message)
    )
    return messages


@pytest.mark.parametrize(("name", "args"), PASSING)
def test_what_holds_passes(name, args, logged):
    assert getattr(ours, name)(*args) is None
    assert logged == []


@pytest.mark.parametrize(("name", "args", "message"), FAILING)
def test_what_fails_shows_both_values(name, args, message, logged):
    with pytest.raises(AssertionError) as caught:
        getattr(ours, name)(*args)
    assert str(caught.value) == message
    assert logged == [message]


def test_the_users_words_follow():
    with pytest.raises(AssertionError, match=r"^got 1, expect 2: the sum is wrong$"):
        ours.assert_eq(1, 2, "the sum is wrong")
    with pytest.raises(AssertionError, match=r"^got 1, expect 2$"):
        ours.assert_eq(1, 2, errmsg=None)


def test_large_values_are_cut():
    with pytest.raises(AssertionError) as caught:
        ours.assert_eq("a" * 10_000_000, "b")
    assert len(str(caught.value)) < 2100
    assert "(10000002 characters), expect 'b'" in str(caught.value)


def test_values_that_cannot_be_compared_say_so():
    with pytest.raises(TypeError, match="not supported"):
        ours.assert_lt(1, "a")


def test_without_a_log_nothing_is_logged(logged, monkeypatch):
    monkeypatch.delitem(_log_setup._installed, None)
    with pytest.raises(AssertionError):
        ours.assert_eq(1, 2)
    assert logged == []


def test_a_failure_is_logged_with_the_line_of_the_assertion(monkeypatch, caplog):
    with pytest.raises(AssertionError):
        ours.assert_eq(1, 2)
    here = sys._getframe().f_lineno - 1
    (record,) = caplog.records
    assert (record.filename, record.lineno) == ("test_unittest.py", here)
    assert (record.levelname, record.getMessage()) == ("CRITICAL", "got 1, expect 2")


def test_files(tmp_path):
    one, same, other = (tmp_path / name for name in ("one", "same", "other"))
    one.write_bytes(b"content")
    same.write_bytes(b"content")
    other.write_bytes(b"CONTENT")
    ours.assert_local_file_eq(one, str(same))
    with pytest.raises(AssertionError, match=r"expect the content of .*7 and 7 bytes"):
        ours.assert_local_file_eq(one, other)
    with pytest.raises(AssertionError, match=r"got no file at .*missing.*: sorry"):
        ours.assert_local_file_eq(one, tmp_path / "missing", "sorry")
    with pytest.raises(AssertionError, match="got no file at"):
        ours.assert_local_file_eq(tmp_path, one)


def test_expected_exceptions_are_returned():
    error = ours.expect_raise(int, ValueError, "x", base=7)
    assert isinstance(error, ValueError)
    assert "base 7" in str(error)
    ours.expect_raise({}.__getitem__, (LookupError, TypeError), 1)
    ours.expect_raise(sys.exit, SystemExit)


def test_a_missing_exception_fails():
    with pytest.raises(ExpectFailure, match=r"got 7, expect .*ValueError.* be raised"):
        ours.expect_raise(int, ValueError, "7")
    assert issubclass(ExpectFailure, AssertionError)


def test_another_exception_goes_through():
    with pytest.raises(ZeroDivisionError):
        ours.expect_raise(lambda: 1 / 0, ValueError)


# Cases


def test_a_case_that_passes(tmp_path, capsys):
    case = Recorded(tmp_path / "test.log")
    ours.CCaseExecutor().runcase(case)
    assert case.steps == ["setup", "test_run", "set_result True", "teardown True"]
    out, err = capsys.readouterr()
    assert "======== Passed ========" in out
    assert "Failed" not in out
    assert err == ""


@pytest.mark.parametrize("step", ["setup", "test_run"])
@pytest.mark.parametrize("error", [ValueError, AssertionError])
def test_a_case_that_fails(step, error, tmp_path, capsys):
    case = Recorded(tmp_path / "test.log", step, error=error)
    with pytest.raises(SystemExit) as caught:
        ours.CCaseExecutor.runcase(case)
    assert caught.value.code == 1
    assert case.steps[-3:] == ["set_result False", "fail_teardown", "teardown False"]
    out, err = capsys.readouterr()
    assert "======== Failed ========" in out
    assert f"{error.__name__}: {step} went wrong" in err


def test_a_case_that_fails_without_a_log(tmp_path, capsys, monkeypatch):
    case = Recorded(tmp_path / "test.log", "test_run")
    monkeypatch.delitem(_log_setup._installed, None)
    with pytest.raises(SystemExit):
        ours.CCaseExecutor().runcase(case)
    assert "ValueError: test_run went wrong" in capsys.readouterr().err


def test_a_failing_clean_up_fails_the_case(tmp_path, capsys):
    case = Recorded(tmp_path / "test.log", "teardown True")
    with pytest.raises(SystemExit):
        ours.CCaseExecutor().runcase(case)
    assert "Failed" in capsys.readouterr().out


def test_a_failing_clean_up_skips_no_other(tmp_path, capsys):
    case = Recorded(tmp_path / "test.log", "test_run", "fail_teardown")
    with pytest.raises(SystemExit):
        ours.CCaseExecutor().runcase(case)
    assert case.steps[-1] == "teardown False"
    assert "fail_teardown went wrong" in capsys.readouterr().err


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_who_ends_the_program_still_cleans_up(error, tmp_path, capsys):
    case = Recorded(tmp_path / "test.log", "test_run", error=error)
    with pytest.raises(error):
        ours.CCaseExecutor().runcase(case)
    assert case.steps == ["setup", "test_run", "teardown False"]
    assert "Passed" not in capsys.readouterr().out


def test_the_other_spelling_of_the_steps(tmp_path, capsys):
    steps = []

    class Standard(ours.CUTCase):
        def setUp(self):
            steps.append("setUp")

        def test_run(self):
            steps.append("test_run")

        def tearDown(self):
            steps.append("tearDown")

    ours.CCaseExecutor().runcase(Standard(tmp_path / "test.log"))
    assert steps == ["setUp", "test_run", "tearDown"]


def test_a_case_without_anything_passes(tmp_path, capsys):
    case = ours.CUTCase(tmp_path / "test.log")
    assert case.get_result() is False
    ours.CCaseExecutor().runcase(case)
    assert case.get_result() is True


def test_a_case_keeps_the_log_there_is(tmp_path):
    ours.CUTCase(tmp_path / "test.log")
    assert not (tmp_path / "test.log").exists()


@pytest.mark.parametrize(
    ("options", "level", "console"),
    [({}, 20, False), ({"b_debug": True}, 10, False), ({"b_logstd": 10}, 20, True)],
)
def test_a_case_sets_up_the_log(options, level, console, tmp_path, monkeypatch):
    calls = []
    monkeypatch.delitem(_log_setup._installed, None)
    monkeypatch.setattr(ours.log, "init_comlog", lambda *args: calls.append(args))
    ours.CUTCase(tmp_path / "test.log", **options)
    assert calls == [
        ("test_case", level, tmp_path / "test.log", 0, 5 * 1024 * 1024, console)
    ]


# As scripts


def test_the_case_of_the_old_examples(tmp_path):
    run = run_script(tmp_path, SEED_CASE)
    assert run.returncode == 0, run.stderr
    assert "Passed" in run.stdout
    assert "Start to run" in run.stderr  # a level as second argument: to the console
    text = (tmp_path / "test.log").read_text()
    assert "Start to run" in text
    assert "End running case.pyTrue" in text.replace(f"{tmp_path}{os.sep}", "")


def test_a_script_that_fails_exits_with_an_error(tmp_path):
    run = run_script(tmp_path, SEED_CASE.replace("self._info, 1)", "self._info, 2)"))
    assert run.returncode == 1
    assert "Failed" in run.stdout
    assert "AssertionError: got 1, expect 2" in run.stderr
    text = (tmp_path / "test.log").read_text()
    assert "[case.py:20] got 1, expect 2" in text
    assert "the case failed" in text
    assert "End running" in text


def test_the_standard_library_is_not_shadowed():
    assert standard.TestCase
    assert ours is not standard
