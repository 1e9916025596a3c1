"""Statistics of a process, read by its owner over a local socket."""

import enum
import errno
import json
import os
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from cup import monitoring
from cup.errors import InvalidType, InvalidValue, MonitoringError
from cup.services.buffers import BufferPool
from cup.services.threadpool import ThreadPool
from cup.thread import RWLock

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no local sockets")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "cup"


class Colour(enum.Enum):
    RED = 1


@dataclass
class Figures:
    colour: Colour = Colour.RED
    share: float = float("nan")
    names: tuple[str, ...] = ("a", "b")
    thing: object = object


class Service:
    def __init__(self, figures):
        self.figures = figures

    def stats(self):
        if isinstance(self.figures, Exception):
            raise self.figures
        return self.figures


def services(path):
    return {one["name"]: one for one in monitoring.read(path)["services"]}


def test_services_are_shown_as_they_are():
    lock = RWLock(name="config")
    with ThreadPool(max_workers=2) as pool, monitoring.expose(pool=pool) as shown:
        shown.add("lock", lock)
        pool.run(int)
        with lock.write():
            document = monitoring.read(shown.path)
    assert document["pid"] == os.getpid()
    jobs, config = document["services"]
    assert (jobs["name"], jobs["type"], jobs["stats"]["done"]) == (
        "pool",
        "ThreadPool",
        1,
    )
    assert config["stats"]["writer"] == "MainThread"


async def test_faces_for_tasks_are_shown():
    pool = BufferPool(3)
    with monitoring.expose(memory=pool.aio) as shown:
        assert services(shown.path)["memory"]["stats"]["total"] == 3


def test_only_its_user_comes_in(folder):
    with monitoring.expose() as shown:
        assert shown.path == folder / f"{os.getpid()}.sock"
        assert folder.stat().st_mode & 0o777 == 0o700
        assert shown.path.stat().st_mode & 0o777 == 0o600
        assert monitoring.exposed() == [shown.path]
    assert not shown.path.exists()
    assert monitoring.exposed() == []


def test_a_folder_that_others_can_enter_is_refused(folder):
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    with pytest.raises(MonitoringError, match="mode 700"):
        monitoring.expose()


def test_without_a_runtime_folder_there_is_one_of_the_user(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr(monitoring.tempfile, "gettempdir", lambda: str(tmp_path))
    with monitoring.expose() as shown:
        assert shown.path.parent == tmp_path / f"cup-{os.getuid()}"


def test_values_of_every_kind_have_a_form():
    assert monitoring._plain(Figures()) == {
        "colour": "RED",
        "share": "nan",
        "names": ["a", "b"],
        "thing": "<class 'object'>",
    }
    assert monitoring._plain({Colour.RED: {1}, "x": None}) == {
        "Colour.RED": [1],
        "x": None,
    }
    assert json.dumps(monitoring._plain(Figures()))


def test_one_that_fails_does_not_hide_the_others():
    good, bad = Service(5), Service(ValueError("no figures"))
    with monitoring.expose(good=good, bad=bad) as shown:
        found = services(shown.path)
    assert found["good"]["stats"] == 5
    assert found["bad"]["error"] == "ValueError('no figures')"


def test_services_come_and_go():
    with monitoring.expose(one=Service(1)) as shown:
        shown.add("two", Service(2))
        shown.add("one", Service(3))
        assert [one["stats"] for one in services(shown.path).values()] == [3, 2]
        shown.remove("one")
        shown.remove("one")
        assert [*services(shown.path)] == ["two"]


@pytest.mark.parametrize("thing", [5, None, "text", object()])
def test_what_has_no_statistics_is_refused(thing):
    with monitoring.expose() as shown:
        with pytest.raises(InvalidType, match="stats"):
            shown.add("thing", thing)
        with pytest.raises(InvalidValue):
            shown.add("", Service(1))


def test_a_path_of_ones_own(tmp_path):
    path = tmp_path / "mine.sock"
    with monitoring.expose(path, path=Service(7)) as shown:
        assert shown.path == path
        assert services(path)["path"]["stats"] == 7
        assert "mine.sock 1 services" in repr(shown)
    assert "closed" in repr(shown)


def test_a_socket_left_behind_is_replaced(tmp_path):
    path = tmp_path / "old.sock"
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(path))
    with pytest.raises(MonitoringError, match="old.sock"):
        monitoring.read(path)
    with monitoring.expose(path):
        assert monitoring.read(path)["services"] == []


@pytest.mark.parametrize("path", ["x" * 200, "/nowhere/at/all.sock"])
def test_paths_that_cannot_be(path):
    with pytest.raises(MonitoringError, match=path[:20]):
        monitoring.expose(path)


def test_a_file_is_not_removed(tmp_path):
    path = tmp_path / "precious"
    path.write_text("content")
    with pytest.raises(MonitoringError):
        monitoring.expose(path)
    assert path.read_text() == "content"


def test_who_exposes_twice_has_two_sockets(folder):
    with monitoring.expose(one=Service(1)) as first:
        with monitoring.expose(two=Service(2)) as second:
            assert first.path != second.path
            assert [*services(first.path)] == ["one"]
            assert [*services(second.path)] == ["two"]
            assert {*monitoring.exposed()} == {first.path, second.path}
        assert [*services(first.path)] == ["one"]
    assert monitoring.exposed() == []


def test_the_socket_of_another_is_left_alone(tmp_path):
    path = tmp_path / "other.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(MonitoringError, match="somebody listens"):
            monitoring.expose(path)
        assert path.is_socket()


@pytest.mark.parametrize("answer", [b"[1]", b"{}", b"null", b"[" * 100_000, b"\xff"])
def test_an_answer_of_something_else_is_refused(tmp_path, answer):
    path = tmp_path / "other.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        thread = threading.Thread(target=answer_once, args=(other, answer))
        thread.start()
        with pytest.raises(MonitoringError, match="other.sock"):
            monitoring.read(path)
        thread.join()


def answer_once(server, answer):
    peer, _ = server.accept()
    with peer:
        peer.sendall(answer)


def test_it_outlasts_a_lack_of_descriptors(monkeypatch):
    class Lacking:
        def __init__(self, real):
            self.real = real
            self.times = 2

        def accept(self):
            if self.times:
                self.times -= 1
                raise OSError(errno.EMFILE, "too many open files")
            return self.real.accept()

        def close(self):
            self.real.close()

    listen = monitoring._listen
    monkeypatch.setattr(monitoring, "_listen", lambda path: Lacking(listen(path)))
    with monitoring.expose(one=Service(1)) as shown:
        assert [*services(shown.path)] == ["one"]


def test_statistics_that_end_their_thread_end_it_not():
    with monitoring.expose(one=Service(1), bad=Ending()) as shown:
        for _ in range(2):
            found = services(shown.path)
            assert found["one"]["stats"] == 1
            assert found["bad"]["error"] == "SystemExit()"


class Ending:
    def stats(self):
        raise SystemExit


def test_nobody_there(tmp_path):
    with pytest.raises(MonitoringError, match="nobody.sock"):
        monitoring.read(tmp_path / "nobody.sock")


def test_a_stranger_that_says_nothing_is_not_waited_for_for_ever(tmp_path):
    path = tmp_path / "mute.sock"
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(path))
        mute.listen()
        with pytest.raises(MonitoringError):
            monitoring.read(path, timeout=0.05)


def test_who_asks_and_leaves_harms_nobody():
    with monitoring.expose(one=Service("x" * 150)) as shown:
        for _ in range(20):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(shown.path))
        assert services(shown.path)["one"]["stats"] == "x" * 150


def test_many_ask_at_once():
    with monitoring.expose(one=Service(1)) as shown:
        answers = []

        def ask():
            answers.append(services(shown.path)["one"]["stats"])

        threads = [threading.Thread(target=ask) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == [1] * 20


def descriptors():
    return len([*Path("/proc/self/fd").iterdir()])


@pytest.mark.skipif(sys.platform != "linux", reason="counts in /proc")
def test_closing_leaves_nothing():
    before = threading.active_count(), descriptors()
    for _ in range(10):
        shown = monitoring.expose(one=Service(1))
        shown.close()
        shown.close()
    assert (threading.active_count(), descriptors()) == before


def test_a_child_leaves_the_socket_of_its_parent_alone():
    service = Service(3)
    with monitoring.expose(one=service) as shown:
        child = os.fork()
        if not child:
            shown.close()
            os._exit(0 if shown.path.exists() else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert services(shown.path)["one"]["stats"] == 3


def test_the_socket_goes_with_the_process(folder):
    code = (
        "from cup import monitoring\nmonitoring.expose()\nprint(*monitoring.exposed())"
    )
    run = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert Path(run.stdout.strip()).parent == folder
    assert not [*folder.iterdir()]


def test_systems_without_local_sockets_say_so(monkeypatch):
    monkeypatch.setattr(monitoring.sys, "platform", "win32")
    with pytest.raises(MonitoringError, match="local sockets"):
        monitoring.expose()
    with pytest.raises(MonitoringError, match="local sockets"):
        monitoring.exposed()
