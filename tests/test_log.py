"""The log: what a line says, where it goes, and that none is lost."""

import io
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import traceback
import warnings
from pathlib import Path

import pytest

import cup.log
from cup import _log_file, _log_setup
from cup.errors import InvalidType, InvalidValue, LoggerException

log = cup.log
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
not_windows = pytest.mark.skipif(sys.platform == "win32", reason="files stay open")


pytestmark = pytest.mark.usefixtures("clean_log")


@pytest.fixture
def logfile(tmp_path):
    return tmp_path / "cup.log"


def lines_of(path):
    return Path(path).read_text(encoding="utf-8").splitlines()


def messages_of(*paths):
    return [log.parse(line)["msg"] for path in paths for line in lines_of(path)]


def rotated(path):
    """Name the files of a log, from the oldest to the one that is written."""
    older = path.parent.glob(path.name + ".[0-9]*")
    return [*sorted(older, key=lambda p: -int(p.suffix[1:])), path]


def in_child(function):
    """Run a function in a forked child and return its exit status."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of other tests
        pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    status = 1
    try:
        function()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


# What a line says


def test_a_line_tells_level_process_thread_and_the_callers_line(logfile):
    log.init_comlog("app", log.DEBUG, logfile)
    log.info("started")
    here = sys._getframe().f_lineno - 1
    (line,) = lines_of(logfile)
    assert re.match(r"INFO:\t \d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} \* \[", line)
    parts = log.parse(line)
    assert parts["loglevel"] == "INFO"
    assert parts["pid"] == str(os.getpid())
    assert parts["tid"] == str(threading.get_ident())
    assert parts["srcline"] == f"test_log.py:{here}"
    assert parts["msg"] == "started"


@pytest.mark.parametrize(
    ("function", "level"),
    [
        ("debug", "DEBUG"),
        ("info", "INFO"),
        ("warn", "WARNING"),
        ("warning", "WARNING"),
        ("error", "ERROR"),
        ("critical", "CRITICAL"),
        ("fatal", "CRITICAL"),
    ],
)
def test_every_function_has_its_level_and_names_its_caller(logfile, function, level):
    log.init_comlog("app", log.DEBUG, logfile)
    getattr(log, function)("%s of %d", "one", 2)
    here = sys._getframe().f_lineno - 1
    parts = log.parse(lines_of(logfile)[0])
    assert (parts["loglevel"], parts["msg"]) == (level, "one of 2")
    assert parts["srcline"] == f"test_log.py:{here}"


@pytest.mark.parametrize(
    ("function", "level"),
    [
        ("xdebug", "DEBUG"),
        ("xinfo", "INFO"),
        ("xwarn", "WARNING"),
        ("xerror", "ERROR"),
        ("xcritical", "CRITICAL"),
    ],
)
def test_every_x_function_has_its_level_and_names_its_caller(logfile, function, level):
    log.xinit_comlog("app.x", log.DEBUG, logfile)
    getattr(log, function)("app.x", "100% {done}")
    here = sys._getframe().f_lineno - 1
    parts = log.parse(lines_of(logfile)[0])
    assert (parts["loglevel"], parts["msg"]) == (level, "100% {done}")
    assert parts["srcline"] == f"test_log.py:{here}"


def test_a_wrapper_can_name_its_own_caller(logfile):
    def shout(text):
        log.info(text.upper(), stacklevel=2)

    log.init_comlog("app", log.INFO, logfile)
    shout("hey")
    here = sys._getframe().f_lineno - 1
    assert log.parse(lines_of(logfile)[0])["srcline"] == f"test_log.py:{here}"


@pytest.mark.parametrize(
    "text", ["100%", "%s %d", "{0} {}", "%(name)s", "", "ä 中 \udc80"]
)
def test_a_message_without_arguments_is_written_as_it_stands(logfile, text):
    log.init_comlog("app", log.INFO, logfile)
    log.info(text)
    expected = text.encode("utf-8", "backslashreplace").decode()
    assert messages_of(logfile) == [expected]


def test_arguments_that_do_not_fit_lose_no_line(logfile, capsys):
    log.xinit_comlog("app", log.INFO, logfile)  # pytest's handlers of the root raise
    log.xinfo("app", "50% done", "extra")
    log.xinfo("app", "%d files", "many")
    assert messages_of(logfile) == ["50% done ('extra',)", "%d files ('many',)"]
    assert capsys.readouterr().err == ""


def test_a_message_that_breaks_breaks_no_caller(logfile, capsys):
    class Broken:
        def __str__(self):
            raise RuntimeError("no text")

    log.xinit_comlog("app", log.INFO, logfile)  # pytest's handlers of the root raise
    log.xinfo("app", Broken())
    log.xinfo("app", "%s", Broken())
    log.xinfo("app", "after")
    assert [m.partition("<")[0] for m in messages_of(logfile)] == ["%s (", "after"]
    assert "no text" in capsys.readouterr().err


def test_tracebacks_follow_the_line(logfile):
    log.init_comlog("app", log.INFO, logfile)
    try:
        raise LookupError("nothing there")
    except LookupError as error:
        log.exception("first")
        kept = error
    log.warn("second", exc_info=kept)
    text = logfile.read_text()
    assert text.count("LookupError: nothing there") == 2
    assert log.parse(text.splitlines()[0])["loglevel"] == "ERROR"
    assert log.parse("LookupError: nothing there") is None


def test_parse_takes_lines_of_the_older_library():
    line = (
        "INFO: 2015-10-14 16:13:11,700  * [18635:139901983938272] [util.py:167] "
        "to compress folder into tarfile:/home/a b.tar.gz"
    )
    assert log.parse(line + "\n") == {
        "loglevel": "INFO",
        "date": "2015-10-14",
        "time": "16:13:11,700",
        "pid": "18635",
        "tid": "139901983938272",
        "srcline": "util.py:167",
        "msg": "to compress folder into tarfile:/home/a b.tar.gz",
    }
    hexadecimal = line.replace("139901983938272", "7f3d2c1b0a00")
    assert log.parse(hexadecimal)["tid"] == "7f3d2c1b0a00"


@pytest.mark.parametrize(
    "line", ["", "\n", "xxxxsdf  sdfsdf", "INFO: hello", "[1:2] [3]"]
)
def test_parse_refuses_what_is_no_line(line):
    assert log.parse(line) is None


# Set-up


def test_before_set_up_the_standard_root_logger_gets_it(caplog, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log.warn("early %d", 1)
    log.xerror("some.logger", "early, too")
    assert [(r.name, r.getMessage()) for r in caplog.records] == [
        ("root", "early 1"),
        ("some.logger", "early, too"),
    ]
    assert not list(tmp_path.iterdir())


def test_other_loggers_write_into_the_file(logfile):
    log.init_comlog("app", log.INFO, logfile)
    logging.getLogger("some.library").info("hello")
    assert messages_of(logfile) == ["hello"]


def test_a_second_call_keeps_the_first_and_warns(logfile, tmp_path):
    log.init_comlog("app", log.INFO, logfile)
    with pytest.warns(RuntimeWarning, match=r"init_comlog\('again'\).*stays") as seen:
        log.init_comlog("again", log.DEBUG, tmp_path / "other.log")
    assert seen[0].filename == __file__
    log.info("one")
    log.debug("none")
    assert messages_of(logfile) == ["one"]
    assert not (tmp_path / "other.log").exists()


def test_reinit_replaces(logfile, tmp_path):
    log.init_comlog("app", log.INFO, logfile)
    log.info("old")
    log.reinit_comlog("again", "DEBUG", tmp_path / "other.log")
    log.debug("new")
    assert messages_of(logfile) == ["old"]
    assert messages_of(tmp_path / "other.log") == ["new"]


def test_reinit_works_as_the_first_call(logfile):
    log.reinit_comlog("app", log.INFO, logfile)
    log.info("one")
    assert messages_of(logfile) == ["one"]


def test_a_failed_reinit_keeps_what_there_is(logfile, tmp_path):
    log.init_comlog("app", log.INFO, logfile)
    with pytest.raises(LoggerException):
        log.reinit_comlog("again", log.INFO, tmp_path)
    log.info("still here")
    assert messages_of(logfile) == ["still here"]


def test_levels_by_number_and_name(logfile):
    log.init_comlog("app", "warning", logfile)
    log.info("no")
    log.setloglevel(log.INFO)
    log.info("yes")
    log.setloglevel("ERROR")
    log.warn("no")
    assert messages_of(logfile) == ["yes"]
    assert (log.DEBUG, log.INFO, log.WARN, log.WARNING) == (10, 20, 30, 30)
    assert (log.ERROR, log.CRITICAL, log.ROTATION, log.INFINITE) == (40, 50, 0, 1)


def test_the_directory_is_made_and_a_relative_path_stays(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log.init_comlog("app", log.INFO, "logs/today/app.log", maxlogsize=200)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for n in range(5):
        log.info(f"line {n}")
    files = rotated(tmp_path / "logs" / "today" / "app.log")
    assert messages_of(*files) == [f"line {n}" for n in range(5)]
    assert not list((tmp_path / "elsewhere").iterdir())


def test_gen_wf_parts_the_lines(logfile):
    log.init_comlog("app", log.DEBUG, str(logfile), log.ROTATION, gen_wf=True)
    assert lines_of(logfile) == lines_of(f"{logfile}.wf") == []
    for function in (log.debug, log.info, log.warn, log.error, log.critical):
        function(function.__name__)
    assert messages_of(logfile) == ["debug", "info"]
    assert messages_of(f"{logfile}.wf") == ["warn", "error", "critical"]


def test_console_prints_on_what_stderr_is_now(logfile, capsys):
    log.init_comlog("app", log.INFO, logfile, bprint_console=True)
    log.info("seen")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == lines_of(logfile)


def test_no_console_is_no_error(logfile, monkeypatch):
    log.init_comlog("app", log.INFO, logfile, bprint_console=True)
    monkeypatch.setattr(sys, "stderr", None)
    log.info("unseen")
    assert messages_of(logfile) == ["unseen"]


def test_a_console_that_is_closed_breaks_no_caller(logfile, monkeypatch):
    log.init_comlog("app", log.INFO, logfile, bprint_console=True)
    closed = io.StringIO()
    closed.close()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", closed)
        patch.setattr(logging, "raiseExceptions", False)
        log.info("unseen")
    assert messages_of(logfile) == ["unseen"]


def test_named_loggers_have_files_of_their_own(tmp_path):
    log.init_comlog("app", log.INFO, tmp_path / "app.log")
    log.xinit_comlog("log.x", log.LoggerParams(log.DEBUG, str(tmp_path / "x.log")))
    log.xinit_comlog(
        "log.y", logger_params=log.LoggerParams("INFO", tmp_path / "y.log")
    )
    log.xinit_comlog("log.z", log.INFO, tmp_path / "z.log", gen_wf=True)
    log.info("app")
    log.xdebug("log.x", "x")
    log.xdebug("log.y", "hidden")
    log.xinfo("log.y", "y")
    log.xwarn("log.z", "z")
    assert messages_of(tmp_path / "app.log") == ["app"]
    assert messages_of(tmp_path / "x.log") == ["x"]
    assert messages_of(tmp_path / "y.log") == ["y"]
    assert messages_of(tmp_path / "z.log.wf") == ["z"]


def test_a_second_call_for_a_named_logger_warns(tmp_path):
    log.xinit_comlog("log.x", log.INFO, tmp_path / "x.log")
    with pytest.warns(RuntimeWarning, match="another name") as seen:
        log.xinit_comlog("log.x", log.INFO, tmp_path / "y.log")
    assert seen[0].filename == __file__
    log.xinfo("log.x", "once")
    assert messages_of(tmp_path / "x.log") == ["once"]


@pytest.mark.parametrize(
    ("kwargs", "error", "match"),
    [
        ({"loglevel": "LOUD"}, InvalidValue, "'LOUD' is no log level; use one of"),
        ({"loglevel": -1}, InvalidValue, "loglevel is -1"),
        ({"loglevel": None}, InvalidType, "loglevel is None"),
        ({"loglevel": True}, InvalidType, "loglevel is True"),
        ({"logtype": 2}, InvalidValue, "logtype is 2; use log.ROTATION"),
        ({"logtype": "daily"}, InvalidType, "logtype is 'daily'"),
        ({"maxlogsize": 0}, InvalidValue, "maxlogsize is 0; give the bytes"),
        ({"maxlogsize": -5}, InvalidValue, "maxlogsize is -5"),
        ({"maxlogsize": 1.5}, InvalidType, r"maxlogsize is 1\.5"),
        ({"logfile": 7}, InvalidType, "logfile is 7"),
        ({"logfile": b"x"}, InvalidType, "logfile is b'x'"),
        ({"logfile": "a\0b"}, InvalidValue, "give the path of a file"),
        ({"logfile": ""}, LoggerException, "is no file"),
    ],
)
def test_bad_input_is_refused_and_changes_nothing(kwargs, error, match, tmp_path):
    kwargs = {"logfile": tmp_path / "cup.log", **kwargs}
    with pytest.raises(error, match=match):
        log.init_comlog("app", **kwargs)
    with pytest.raises(error, match=match):
        log.xinit_comlog("app.x", **kwargs)
    assert not list(tmp_path.iterdir())
    log.init_comlog("app", logfile=tmp_path / "good.log")


def test_a_size_means_nothing_to_an_endless_file(logfile):
    log.init_comlog("app", log.INFO, logfile, log.INFINITE, 0)
    log.info("one")
    assert messages_of(logfile) == ["one"]


def test_what_cannot_be_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LoggerException, match="is no file; choose another"):
        log.init_comlog("app", logfile=tmp_path)
    with pytest.raises(LoggerException, match="cannot write the log") as caught:
        log.init_comlog("app", logfile=tmp_path / "file" / "cup.log")
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.skipif(sys.platform == "win32", reason="no such files")
@pytest.mark.parametrize("path", ["/dev/null", "/dev/fd/2"])
def test_a_file_of_the_system_is_never_moved_away(path):
    """`/dev/stdout` leads to a file where the output is one: that can grow."""
    (handler,) = _log_setup._make_handlers(
        _log_setup.LoggerParams(logfile=path, maxlogsize=10)
    )
    handler.close()
    assert handler._limit == 0


def test_a_second_file_that_fails_leaves_no_first(logfile):
    Path(f"{logfile}.wf").mkdir()
    with pytest.raises(LoggerException, match=r"cup\.log\.wf"):
        log.init_comlog("app", logfile=logfile, gen_wf=True)
    assert not _log_setup.is_set_up()
    assert not [
        h for h in logging.getLogger().handlers if isinstance(h, _log_file.LogFile)
    ]


@pytest.mark.parametrize("name", ["", "root"])
def test_the_root_is_no_named_logger(name, logfile):
    with pytest.raises(InvalidValue, match="set up by init_comlog"):
        log.xinit_comlog(name, log.INFO, logfile)
    with pytest.raises(InvalidType, match="loggername is 5"):
        log.xinit_comlog(5, log.INFO, logfile)


# Rotation


def test_rotation_by_size_keeps_thirty_files(logfile):
    log.init_comlog("app", log.INFO, logfile, maxlogsize=1)
    for n in range(35):
        log.info(f"{n}")
    files = rotated(logfile)
    assert len(files) == 31
    assert files[0].name == "cup.log.30"
    assert messages_of(*files) == [f"{n}" for n in range(4, 35)]


def test_no_file_exceeds_its_size(logfile):
    log.init_comlog("app", log.INFO, logfile, maxlogsize=1000)
    for n in range(50):
        log.info(f"line {n} " + "x" * 40)
    files = rotated(logfile)
    assert len(files) > 3
    assert max(path.stat().st_size for path in files) <= 1000
    assert [m.split()[1] for m in messages_of(*files)] == [f"{n}" for n in range(50)]


def test_an_endless_file_never_rotates(logfile):
    log.init_comlog("app", log.INFO, logfile, log.INFINITE, 10)
    for n in range(20):
        log.info(f"{n}")
    assert rotated(logfile) == [logfile]


def test_an_old_file_is_appended_to(logfile):
    logfile.write_text("before\n")
    log.init_comlog("app", log.INFO, logfile)
    log.info("after")
    assert lines_of(logfile)[0] == "before"
    assert len(lines_of(logfile)) == 2


def test_threads_lose_and_mix_no_line_over_rotations(logfile):
    log.init_comlog("app", log.INFO, logfile, maxlogsize=20_000)

    def work(name):
        for n in range(300):
            log.info(f"{name} {n}")

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    files = rotated(logfile)
    assert 5 < len(files) < 31
    written = [message.split() for message in messages_of(*files)]
    for name in "abcdefgh":
        assert [n for who, n in written if who == name] == [str(n) for n in range(300)]


@not_windows
def test_a_file_that_was_moved_or_removed_is_made_anew(logfile, tmp_path):
    log.init_comlog("app", log.INFO, logfile)
    log.info("one")
    logfile.rename(tmp_path / "moved.log")
    log.info("two")
    logfile.unlink()
    log.info("three")
    assert messages_of(tmp_path / "moved.log", logfile) == ["one", "three"]


@not_windows
def test_a_directory_that_was_removed_is_made_anew(tmp_path):
    logfile = tmp_path / "logs" / "cup.log"
    log.init_comlog("app", log.INFO, logfile)
    logfile.unlink()
    logfile.parent.rmdir()
    log.info("one")
    assert messages_of(logfile) == ["one"]


@not_windows
def test_a_rotation_that_fails_loses_no_line(logfile, monkeypatch):
    log.init_comlog("app", log.INFO, logfile, maxlogsize=1)

    def fail(path):
        raise PermissionError(13, "not yours")

    monkeypatch.setattr(_log_file, "_shift", fail)
    log.info("one")
    log.info("two")
    assert messages_of(logfile) == ["one", "two"]


@not_windows
def test_a_file_that_cannot_be_opened_anew_is_gone_on_with(logfile, monkeypatch):
    log.init_comlog("app", log.INFO, logfile, maxlogsize=1)
    log.info("one")

    def fail(path):
        raise OSError(24, "too many open files")

    monkeypatch.setattr(_log_file, "_open", fail)
    log.info("two")
    log.info("three")
    monkeypatch.undo()
    log.info("four")
    assert messages_of(Path(f"{logfile}.1"), logfile) == ["one", "two", "three", "four"]


@not_windows
def test_a_line_that_cannot_be_written_is_reported(logfile, monkeypatch, capsys):
    log.init_comlog("app", log.INFO, logfile)

    def fail(fd, data):
        raise OSError(28, "no space left")

    monkeypatch.setattr(os, "write", fail)
    log.info("one")
    monkeypatch.undo()
    log.info("two")
    assert messages_of(logfile) == ["two"]
    assert "no space left" in capsys.readouterr().err


@not_windows
def test_who_meets_another_rotation_goes_on_writing(logfile):
    import fcntl

    log.init_comlog("app", log.INFO, logfile, maxlogsize=1)
    guard = os.open(logfile.parent, os.O_RDONLY)
    fcntl.flock(guard, fcntl.LOCK_EX)
    log.info("one")
    log.info("two")
    os.close(guard)
    log.info("three")
    assert messages_of(Path(f"{logfile}.1")) == ["one", "two"]
    assert messages_of(logfile) == ["three"]


@not_windows
def test_a_line_after_the_end_is_written_all_the_same(logfile):
    log.init_comlog("app", log.INFO, logfile)
    (handler,) = _log_setup._installed[None].handlers
    assert repr(handler) == f"<LogFile {str(logfile)!r}>"
    handler.close()
    log.info("late")
    assert messages_of(logfile) == ["late"]
    assert handler._fd == -1


@not_windows
def test_a_closed_file_that_cannot_be_opened_is_reported(logfile, monkeypatch, capsys):
    log.init_comlog("app", log.INFO, logfile)
    _log_setup._installed[None].handlers[0].close()

    def fail(path):
        raise OSError(24, "too many open files")

    monkeypatch.setattr(_log_file, "_open", fail)
    log.info("lost")
    assert "too many open files" in capsys.readouterr().err
    assert lines_of(logfile) == []


@not_windows
def test_file_systems_without_locks_rotate_all_the_same(logfile, monkeypatch):
    import fcntl

    def fail(fd, operation):
        raise OSError(9, "no locks here")

    monkeypatch.setattr(fcntl, "flock", fail)
    log.init_comlog("app", log.INFO, logfile, maxlogsize=1)
    for n in range(3):
        log.info(f"{n}")
    assert len(rotated(logfile)) == 3
    assert messages_of(*rotated(logfile)) == ["0", "1", "2"]


def test_rotation_where_open_files_cannot_be_moved(logfile, monkeypatch):
    log.init_comlog("app", log.INFO, logfile, maxlogsize=1)
    monkeypatch.setattr(sys, "platform", "win32")
    for n in range(3):
        log.info(f"{n}")

    def fail(path):
        raise PermissionError(13, "another process has it open")

    with monkeypatch.context() as patch:
        patch.setattr(_log_file, "_shift", fail)
        log.info("3")
    assert len(rotated(logfile)) == 3
    assert messages_of(*rotated(logfile)) == ["0", "1", "2", "3"]


@not_windows
def test_a_signal_handler_may_log_while_its_thread_rotates(logfile, monkeypatch):
    log.init_comlog("app", log.INFO, logfile, maxlogsize=1)
    shift = _log_file._shift

    def interrupted(path):
        signal.raise_signal(signal.SIGUSR1)
        shift(path)

    monkeypatch.setattr(_log_file, "_shift", interrupted)
    before = signal.signal(signal.SIGUSR1, lambda *_: log.warn("signal"))
    try:
        log.info("one")
        log.info("two")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert messages_of(*rotated(logfile)) == ["one", "signal", "two"]


# Processes


@needs_fork
def test_children_write_into_the_same_files_over_rotations(logfile):
    log.init_comlog("app", log.INFO, logfile, maxlogsize=8_000)

    def work(name):
        for n in range(200):
            log.info(f"{name} {n}")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of other tests
        pids = []
        for name in "abcd":
            pids.append(os.fork())
            if not pids[-1]:
                try:
                    work(name)
                finally:
                    os._exit(0)
    work("parent")
    for pid in pids:
        os.waitpid(pid, 0)
    files = rotated(logfile)
    assert 1 < len(files) < 31  # who meets another rotation writes on
    written = [message.split() for message in messages_of(*files)]
    assert len(written) == 1000
    for name in ("a", "b", "c", "d", "parent"):
        # A line may land in the file that is being moved away: order is kept by file.
        assert sorted(int(n) for who, n in written if who == name) == list(range(200))


@needs_fork
def test_a_child_forked_while_the_locks_are_taken_can_log_and_set_up(logfile, tmp_path):
    log.init_comlog("app", log.INFO, logfile)
    (handler,) = _log_setup._installed[None].handlers
    ready, done = threading.Event(), threading.Event()

    def hold():
        handler.acquire()
        with next(reversed(_log_setup._locks.values())):
            ready.set()
            done.wait(10)
        handler.release()

    holder = threading.Thread(target=hold)
    holder.start()
    ready.wait(10)

    def child():
        log.info("child")
        log.reinit_comlog("child", log.INFO, tmp_path / "child.log")
        log.info("its own")

    assert in_child(child) == 0
    done.set()
    holder.join()
    log.info("parent")
    assert messages_of(logfile) == ["child", "parent"]
    assert messages_of(tmp_path / "child.log") == ["its own"]


def test_in_a_program(tmp_path):
    program = """
import cup

cup.log.debug("before")
cup.log.init_comlog("app", cup.log.INFO, "app.log", gen_wf=True)
cup.log.info("hello")
cup.log.error("world")
import sys
assert not {"asyncio", "anyio", "trio"} & set(sys.modules)
"""
    subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, check=True, timeout=30
    )
    assert log.parse(lines_of(tmp_path / "app.log")[0])["srcline"] == "<string>:6"
    assert messages_of(tmp_path / "app.log") == ["hello"]
    assert messages_of(tmp_path / "app.log.wf") == ["world"]
