"""Lines in files that grow, are rotated, replaced, truncated."""

import errno
import os
import re
import threading
import time
import tracemalloc
from pathlib import Path

import pytest
from autowait_tools import LONG, append, happening, open_files

from cup.errors import ConditionTimeout
from cup.services.autowait import RegexInFile, satisfied, sync, wait

NO_EVENTS = os.environ.get("CUP_TEST_NO_EVENTS") == "1"


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "app.log"
    path.write_bytes(b"begin\n")
    return path


def test_line_is_there(face, log):
    found = face.wait(RegexInFile(log, "^b(e)gin$"), 0)
    assert (found.line, found.number, found.offset) == ("begin", 1, 0)
    assert found.match[1] == "e"
    status = log.stat()
    assert found.file_id == (status.st_dev, status.st_ino)


def test_line_comes_in_parts(face, log):
    parts = [lambda: append(log, b"it is rea"), lambda: append(log, b"dy now\n")]
    with happening(*parts):
        assert face.wait(RegexInFile(log, "ready"), LONG).line == "it is ready now"


def test_file_comes_later(face, tmp_path):
    path = tmp_path / "logs" / "app.log"
    with happening(path.parent.mkdir, path.touch, lambda: append(path, b"ready\n")):
        assert face.wait(RegexInFile(path, "ready"), LONG).offset == 0


def test_from_the_end(face, log):
    condition = RegexInFile(log, "begin", start="end")
    with happening(lambda: append(log, b"again: begin\n")):
        found = face.wait(condition, LONG)
    assert (found.line, found.offset) == ("again: begin", 6)


def test_so_many_lines(face, log):
    with happening(*[lambda: append(log, b"done\n")] * 3, after=0.01):
        assert face.wait(RegexInFile(log, "done", count=3), LONG).number == 4


def test_last_words_of_a_rotated_file(face, log):
    old = log.with_suffix(".1")
    rotate = [lambda: log.rename(old), lambda: append(old, b"ready\n")]
    with happening(*rotate):
        assert face.wait(RegexInFile(log, "ready"), LONG).number == 2


def test_last_words_after_the_new_file_was_made(threads, log):
    old = log.with_suffix(".1")

    def rotate():
        log.rename(old)
        log.touch()

    with happening(rotate, lambda: append(old, b"ready\n"), after=0.1):
        assert threads.wait(RegexInFile(log, "ready"), LONG).number == 2


def test_line_in_the_new_file(face, log):
    old = log.with_suffix(".1")

    def rotate():
        log.rename(old)
        log.write_bytes(b"one\nready\n")

    with happening(rotate):
        assert face.wait(RegexInFile(log, "ready"), LONG).number == 2
    with happening(rotate):
        condition = RegexInFile(log, "o?ne", count=2)
        assert face.wait(condition, LONG).file_id[1] == log.stat().st_ino


def test_file_is_replaced(threads, log):
    other = log.with_suffix(".new")
    other.write_bytes(b"ready\n")
    with happening(lambda: other.rename(log)):
        threads.wait(RegexInFile(log, "ready"), LONG)


def test_file_is_truncated(face, log):
    with happening(lambda: log.write_bytes(b""), lambda: append(log, b"ready\n")):
        assert face.wait(RegexInFile(log, "ready"), LONG).offset == 0


def test_file_is_truncated_and_grows_past_the_old_place(threads, log):
    with happening(lambda: log.write_bytes(b"ready\n" + b"filling\n" * 1000)):
        assert threads.wait(RegexInFile(log, "ready"), LONG).offset == 0


def test_file_is_written_anew_with_the_same_size(threads, log):
    with happening(lambda: log.write_bytes(b"ready\n")):
        assert threads.wait(RegexInFile(log, "ready"), LONG).offset == 0


def test_copytruncate_leaves_zeros(threads, log):
    with log.open("r+b", buffering=0) as file:
        file.write(b"begin\nmore\n")

        def copytruncate():
            os.truncate(log, 0)
            file.write(b"ready\n")  # at its old place

        with happening(copytruncate):
            assert "ready" in threads.wait(RegexInFile(log, "ready"), LONG).line


def test_file_is_deleted_and_made_again(face, log):
    def again():
        log.unlink()
        log.write_bytes(b"ready\n")  # ext4 gives it the same inode number

    with happening(again):
        face.wait(RegexInFile(log, "ready"), LONG)


def test_directory_is_moved_away_with_the_log(threads, tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    log = folder / "app.log"
    log.touch()

    def swap():
        folder.rename(tmp_path / "old")
        folder.mkdir()
        log.write_bytes(b"ready\n")

    with happening(swap):
        threads.wait(RegexInFile(log, "ready"), LONG)


def test_directory_is_an_error_at_once(face, tmp_path):
    with pytest.raises(IsADirectoryError):
        face.wait(RegexInFile(tmp_path, "x"), LONG)
    with pytest.raises(OSError):
        face.wait_until_reg_str_exist(tmp_path, "x")


def test_pipe_does_not_hang(threads, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError) as caught:
        threads.wait(RegexInFile(tmp_path / "pipe", "x"), LONG)
    assert caught.value.errno == errno.EINVAL


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission_is_an_error(threads, log):
    log.chmod(0)
    with pytest.raises(PermissionError):
        threads.wait(RegexInFile(log, "x"), LONG)


def test_file_made_up_by_the_system(threads):
    condition = RegexInFile("/proc/uptime", r"^\d")
    assert threads.satisfied(condition)
    assert "proc" in threads.look(RegexInFile("/proc/uptime", "x")).mechanism


def test_file_made_up_by_the_system_is_read_again_and_again(threads):
    name = Path(f"/proc/{os.getpid()}/comm")
    before = name.read_text()
    try:
        with pytest.raises(ConditionTimeout):
            threads.wait(RegexInFile("/proc/self/status", "^Name: no"), 0.05)
        with happening(lambda: name.write_text("awaited"), after=0.02):
            threads.wait(RegexInFile("/proc/self/status", "^Name:.awaited$"), LONG)
    finally:
        name.write_text(before)


def test_writer_in_full_flood_does_not_stop_the_time(face, log):
    done = threading.Event()

    def flood():
        with log.open("ab", buffering=0) as file:
            while not done.is_set():
                file.write(b"no\n" * 10_000)
                if file.tell() > 200_000_000:
                    file.truncate(0)

    writer = threading.Thread(target=flood)
    writer.start()
    try:
        start = time.monotonic()
        with pytest.raises(ConditionTimeout):
            face.wait(RegexInFile(log, "^yes$"), 0.3)
        assert time.monotonic() - start < 5
    finally:
        done.set()
        writer.join()


def test_zero_time_still_reads_all_there_is(face, log):
    append(log, b"filling\n" * 200_000 + b"ready\n")
    assert face.wait(RegexInFile(log, "^ready$"), 0).number == 200_002


def test_memory_is_bounded(threads, log):
    append(log, b"filling\n" * 4_000_000)
    tracemalloc.start()
    try:
        assert not threads.satisfied(RegexInFile(log, "^ready$"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000


def test_nothing_is_left_open(threads, log):
    threads.satisfied(RegexInFile(log, "x"))
    with pytest.raises(ConditionTimeout):
        threads.wait(RegexInFile(log, "x"), 0.02)
    before = open_files()
    for _ in range(20):
        threads.satisfied(RegexInFile(log, "x"))
        with pytest.raises(ConditionTimeout):
            threads.wait(RegexInFile(log, "x"), 0.001)
    assert open_files() == before


def test_message_tells_what_was_seen(threads, log):
    append(log, b"binding :8080\nAlready READY?\n")
    with pytest.raises(ConditionTimeout) as caught:
        threads.wait(RegexInFile(log, "ready\\?"), 0.05)
    message = str(caught.value)
    assert re.match(r"waited \d+\.\d s for RegexInFile\(", message)
    assert "3 lines" in message
    assert "last line 'Already READY?'" in message
    assert "Nearest: 'Already READY?'" in message
    assert caught.value.seen in message
    assert caught.value.timeout == 0.05
    if not NO_EVENTS:
        assert "Watched by inotify" in message


def test_message_tells_of_rotation(threads, log):
    def rotate():
        log.rename(log.with_suffix(".1"))
        log.write_bytes(b"two\n")

    with happening(rotate), pytest.raises(ConditionTimeout, match="replaced 1 times"):
        threads.wait(RegexInFile(log, "ready"), 1.2 if NO_EVENTS else 0.3)


def test_message_tells_what_is_missing(tmp_path):
    with pytest.raises(ConditionTimeout, match="a' does not exist"):
        wait(RegexInFile(tmp_path / "a" / "b", "x"), 0)
    assert not satisfied(RegexInFile(tmp_path / "a" / "b", "x"))
    assert not sync.wait_until_reg_str_exist(tmp_path / "a" / "b", "x", 0)


def test_a_mark_at_the_begin_of_utf_8_is_no_text(tmp_path):
    path = tmp_path / "windows.log"
    path.write_text("ready one\nready two\n", encoding="utf-8-sig")
    for encoding in ("utf-8-sig", "UTF_8_SIG", "utf-8"):
        found = wait(RegexInFile(path, "^ready two", encoding=encoding), 0)
        assert (found.line, found.number, found.offset) == ("ready two", 2, 13)
        assert satisfied(RegexInFile(path, "^ready one", encoding=encoding))


@pytest.mark.parametrize(
    "pattern", [r"\x52eady", r"\u0052eady", r"^\122eady", r"R\145ady"]
)
def test_characters_may_be_written_as_numbers(tmp_path, pattern):
    path = tmp_path / "app.log"
    path.write_text("Ready\n")
    assert satisfied(RegexInFile(path, pattern))
