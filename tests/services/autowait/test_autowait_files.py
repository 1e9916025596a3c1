"""Files that come, go, and are complete."""

import os
import time
from pathlib import Path

import pytest
from autowait_tools import LONG, append, happening, touch

from cup.errors import ConditionTimeout, InvalidType, InvalidValue
from cup.services.autowait import FileComplete, FileExists, FileGone, satisfied, wait


def test_file_is_there_already(face, tmp_path):
    assert face.wait(FileExists(tmp_path), 0) == tmp_path
    assert face.satisfied(FileExists(tmp_path))
    assert not face.satisfied(FileExists(tmp_path / "x"))


def test_file_appears(face, tmp_path):
    path = tmp_path / "x"
    with happening(path.touch):
        assert face.wait(FileExists(path), LONG) == path


def test_file_is_moved_in(face, tmp_path):
    path, other = tmp_path / "x", tmp_path / "y"
    other.touch()
    with happening(lambda: other.rename(path)):
        face.wait(FileExists(path), LONG)


def test_parents_are_made_later(face, tmp_path):
    path = tmp_path / "a" / "b" / "c" / "x"
    steps = [*reversed(path.parents[:3]), path]
    with happening(*(step.mkdir for step in steps[:3]), path.touch, after=0.01):
        face.wait(FileExists(path), LONG)


def test_tree_is_moved_into_place(face, tmp_path):
    (tmp_path / "new" / "b").mkdir(parents=True)
    (tmp_path / "new" / "b" / "x").touch()
    with happening(lambda: (tmp_path / "new").rename(tmp_path / "a")):
        face.wait(FileExists(tmp_path / "a" / "b" / "x"), LONG)


def test_ancestor_is_replaced(threads, tmp_path):
    old, new = tmp_path / "a", tmp_path / "new"
    (old / "b").mkdir(parents=True)
    (new / "b").mkdir(parents=True)
    (new / "b" / "x").touch()
    with happening(lambda: old.rename(tmp_path / "old"), lambda: new.rename(old)):
        threads.wait(FileExists(old / "b" / "x"), LONG)


def test_directory_in_use_is_removed_and_made_again(threads, tmp_path):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    held = os.open(inner, os.O_RDONLY)  # as if it were somebody's working directory
    try:
        with happening(inner.rmdir, inner.mkdir, (inner / "x").touch):
            threads.wait(FileExists(inner / "x"), LONG)
    finally:
        os.close(held)


def test_symlink_is_led_elsewhere(face, tmp_path):
    for name in ("v1", "v2"):
        (tmp_path / name).mkdir()
    (tmp_path / "v2" / "x").touch()
    current = tmp_path / "current"
    current.symlink_to("v1")
    swap = tmp_path / "swap"
    swap.symlink_to("v2")
    with happening(lambda: swap.rename(current)):
        face.wait(FileExists(current / "x"), LONG)


def test_target_of_a_link_appears(threads, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere" / "x")
    assert not satisfied(FileExists(link))
    make = [(tmp_path / "elsewhere").mkdir, (tmp_path / "elsewhere" / "x").touch]
    with happening(*make):
        threads.wait(FileExists(link), LONG)


def test_path_with_dots_goes_where_links_lead(threads, tmp_path):
    (tmp_path / "far" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to("far/deep")
    path = str(tmp_path / "link") + "/.././x"
    with happening((tmp_path / "far" / "x").touch):
        threads.wait(FileExists(path), LONG)


def test_links_in_a_circle_are_nothing(threads, tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(ConditionTimeout, match="leads nowhere"):
        threads.wait(FileExists(tmp_path / "a"), 0.05)


def test_hard_link_appears(threads, tmp_path):
    source = tmp_path / "source"
    source.touch()
    with happening(lambda: os.link(source, tmp_path / "x")):
        threads.wait(FileExists(tmp_path / "x"), LONG)


def test_name_that_is_no_text(threads, tmp_path):
    path = tmp_path / os.fsdecode(b"\xff\xfe")
    with happening(path.touch):
        threads.wait(FileExists(path), LONG)


def test_kind_counts(face, tmp_path):
    path = tmp_path / "x"
    path.mkdir()
    with happening(path.rmdir, path.touch):
        face.wait(FileExists(path, kind="file"), LONG)
    with pytest.raises(ConditionTimeout, match="it is no dir"):
        face.wait(FileExists(path, kind="dir"), 0)


def test_glob_in_a_directory(face, tmp_path):
    condition = FileExists(tmp_path / "logs", glob="*.log")
    make = [(tmp_path / "logs").mkdir, (tmp_path / "logs" / "a.log").touch]
    with happening(*make):
        assert face.wait(condition, LONG) == tmp_path / "logs" / "a.log"


def test_glob_gives_the_first_by_name(threads, tmp_path):
    for name in ("b.log", "a.log", ".0.log", "c.txt"):
        (tmp_path / name).touch()
    assert threads.wait(FileExists(tmp_path, glob="*.log"), 0).name == "a.log"
    assert threads.wait(FileExists(tmp_path, glob=".*"), 0).name == ".0.log"


def test_name_that_looks_like_a_pattern(threads, tmp_path):
    (tmp_path / "[x]").touch()
    assert threads.satisfied(FileExists(tmp_path, glob="[x]"))


def test_glob_in_all_directories_below(face, tmp_path):
    deep = tmp_path / "a" / "b" / "c"
    with happening(lambda: deep.mkdir(parents=True), (deep / "x.done").touch):
        condition = FileExists(tmp_path, glob="*.done", recursive=True)
        assert face.wait(condition, LONG) == deep / "x.done"


def test_tree_comes_complete(threads, tmp_path):
    (tmp_path / "outside" / "a" / "b").mkdir(parents=True)
    (tmp_path / "outside" / "a" / "b" / "x.done").touch()
    (tmp_path / "in").mkdir()
    move = lambda: (tmp_path / "outside").rename(tmp_path / "in" / "outside")
    with happening(move):
        threads.wait(FileExists(tmp_path / "in", glob="*.done", recursive=True), LONG)


def test_file_goes(face, tmp_path):
    path = tmp_path / "x"
    path.touch()
    with happening(path.unlink):
        face.wait(FileGone(path), LONG)
    assert face.wait(FileGone(path), 0) is None


def test_open_file_goes(threads, tmp_path):
    path = tmp_path / "x"
    with path.open("w"), happening(path.unlink):
        threads.wait(FileGone(path), LONG)


def test_file_goes_with_its_directory(threads, tmp_path):
    path = tmp_path / "a" / "x"
    path.parent.mkdir()
    path.touch()
    with happening(lambda: path.parent.rename(tmp_path / "b")):
        threads.wait(FileGone(path), LONG)


def test_negation_waits_for_the_opposite(face, tmp_path):
    path = tmp_path / "x"
    path.touch()
    with happening(path.unlink):
        face.wait(~FileExists(path), LONG)
    with happening(path.touch):
        face.wait(~FileGone(path), LONG)


def test_complete_file_is_old(face, tmp_path):
    path = tmp_path / "x"
    path.write_text("all of it")
    time.sleep(0.12)
    assert face.wait(FileComplete(path, quiet=0.1), 0) == path


def test_complete_waits_for_the_writer(face, tmp_path):
    path = tmp_path / "x"
    writes = [lambda: append(path, b"x" * 100)] * 6
    with happening(*writes, after=0.02):
        face.wait(FileComplete(path, quiet=0.1), LONG)
    assert path.stat().st_size == 600


@pytest.mark.skipif(
    os.environ.get("CUP_TEST_NO_EVENTS") == "1", reason="nobody hears the writer"
)
def test_complete_waits_for_a_silent_writer_to_close(threads, tmp_path):
    path = tmp_path / "x"
    path.touch()
    with path.open("wb", buffering=0) as file:
        part = lambda: file.write(b"part")
        noise = lambda: path.chmod(0o600)  # says nothing about the writer
        with (
            happening(part, noise),
            pytest.raises(ConditionTimeout, match="a writer has it"),
        ):
            threads.wait(FileComplete(path, quiet=0.06), 0.4)


def test_file_of_the_future_is_watched_for_a_while(threads, tmp_path):
    path = tmp_path / "x"
    path.touch()
    later = time.time() + 3600
    os.utime(path, (later, later))
    threads.wait(FileComplete(path, quiet=0.05), LONG)


def test_directory_is_never_complete(threads, tmp_path):
    with pytest.raises(ConditionTimeout, match="it is no file"):
        threads.wait(FileComplete(tmp_path, quiet=0), 0.05)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_where_one_may_not_look_a_file_may_still_be(threads, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir()
    (closed / "x").touch()
    closed.chmod(0)
    try:
        assert not threads.satisfied(FileGone(closed / "x"))
        assert not threads.satisfied(FileExists(closed / "x"))
        report = threads.look(FileExists(closed / "x"))
        assert "permission denied" in report.seen
        assert "EACCES" in report.mechanism
        with happening(lambda: closed.chmod(0o700)):
            threads.wait(FileExists(closed / "x"), LONG)
    finally:
        closed.chmod(0o700)


def test_working_directory_may_change(threads, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    condition = FileExists("x")
    monkeypatch.chdir("/")
    touch(tmp_path / "x")
    assert threads.satisfied(condition)


def test_conditions_are_values(tmp_path):
    assert FileExists(tmp_path, glob="*") == FileExists(str(tmp_path), glob="*")
    assert len({FileGone("/x"), FileGone("/x"), FileExists("/x")}) == 2
    assert eval(repr(FileComplete("/x", 3))) == FileComplete("/x", 3)
    with pytest.raises(AttributeError):
        FileGone("/x").path = "/y"


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: FileExists(""), InvalidValue),
        (lambda: FileExists("a\0b"), InvalidValue),
        (lambda: FileExists(3), InvalidType),
        (lambda: FileExists(b"/x"), InvalidType),
        (lambda: FileExists("/", glob="a/b"), InvalidValue),
        (lambda: FileExists("/", glob=""), InvalidValue),
        (lambda: FileExists("/", recursive=True), InvalidValue),
        (lambda: FileExists("/", kind="socket"), InvalidValue),
        (lambda: FileComplete("/x", float("nan")), InvalidValue),
        (lambda: FileComplete("/x", float("inf")), InvalidValue),
        (lambda: wait("/x"), InvalidType),
        (lambda: wait(FileExists("/"), float("nan")), InvalidValue),
        (lambda: wait(FileExists("/"), "1"), InvalidType),
        (lambda: FileExists("/") & True, InvalidType),
    ],
)
def test_nonsense_is_refused_at_the_call(make, error):
    with pytest.raises(error):
        make()


def test_value_is_a_path(threads):
    assert isinstance(threads.wait(FileExists("/")), Path)
