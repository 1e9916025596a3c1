"""The older names: they tell, and do not raise."""

import shutil
import socket
import subprocess
import time

import pytest
from autowait_tools import LONG, append, happening, until

from cup.services.autowait import ProcessRunning, satisfied

FOREVER = 60  # an interval that is never reached: the event wakes


def test_file(face, tmp_path):
    assert not face.wait_until_file_exist(tmp_path, "x", 0)
    with happening((tmp_path / "x").touch):
        assert face.wait_until_file_exist(tmp_path, "x", LONG, FOREVER)
    assert face.wait_until_file_exist(
        str(tmp_path), "x", max_wait_sec=0, interval_sec=1
    )


def test_file_by_pattern_and_below(face, tmp_path):
    with happening((tmp_path / "a.log").touch):
        assert face.wait_until_file_exist(tmp_path, "*.log", LONG, FOREVER)
    assert not face.wait_until_file_exist(tmp_path, "x", 0, recursive=True)
    with happening((tmp_path / "d").mkdir, (tmp_path / "d" / "x").touch):
        assert face.wait_until_file_exist(tmp_path, "x", LONG, FOREVER, recursive=True)
    assert face.wait_until_file_exist(tmp_path, "d/x", 0)
    assert face.wait_until_file_exist(tmp_path, "d/?", 0)


def test_line(face, tmp_path):
    path = tmp_path / "x"
    with happening(
        path.touch, lambda: append(path, b"rea"), lambda: append(path, b"dy")
    ):
        assert face.wait_until_reg_str_exist(path, "^ready$", LONG, FOREVER)
    assert not face.wait_until_reg_str_exist(path, "^rea$", 0.02)


def test_process(face, tmp_path):
    path = shutil.copy(shutil.which("sleep"), tmp_path / "svc")
    assert face.wait_until_process_not_exist(path, 0)
    assert not face.wait_until_process_exist(path, 0.01)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not face.wait_until_process_used_ports(path, [port], 0)
        process = subprocess.Popen([path, "60"])
        try:
            assert face.wait_until_process_exist(path, LONG, FOREVER)
            assert face.wait_until_process_used_ports(path, [port], LONG)
            assert face.wait_until_process_used_ports(path, port, LONG)
            assert not face.wait_until_process_killed(path, [port], 0)
            assert not face.wait_until_process_not_exist(path, 0.01)
            with happening(process.kill):
                assert face.wait_until_process_not_exist(path, LONG, FOREVER)
            assert not face.wait_until_process_killed(path, [port], 0.01)
            server.close()
            assert face.wait_until_process_killed(path, [port], LONG)
        finally:
            process.kill()
            process.wait()


def test_path_is_no_shell_text(threads, tmp_path):
    trap = tmp_path / "$(touch trapped) 'x"
    assert threads.wait_until_process_not_exist(trap, 0)
    shutil.copy(shutil.which("sleep"), trap)
    process = subprocess.Popen([trap, "60"], cwd=tmp_path)
    try:
        until(lambda: satisfied(ProcessRunning(trap)))
        assert not threads.wait_until_process_not_exist(trap, 0)
    finally:
        process.kill()
        process.wait()
    assert not (tmp_path / "trapped").exists()


def test_works_without_any_program_in_the_path(threads, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert threads.wait_until_process_not_exist(tmp_path / "svc", 0)
    assert threads.wait_until_port_not_used(1, 0)


def test_port(face):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        assert face.wait_until_port_not_used(port, 0)
        assert not face.wait_until_port_used(port, 0.01)
        with happening(server.listen):
            assert face.wait_until_port_used(port, LONG, FOREVER)
        assert not face.wait_until_port_not_used(port, 0.01)
        with happening(server.close):
            assert face.wait_until_port_not_used(port, LONG, FOREVER)


def test_function(face):
    def wanted(number, *, of):
        calls.append(number)
        return len(calls) >= of

    calls = []
    assert face.wait_return_true(wanted, LONG, 0.001, 7, of=3)
    assert calls == [7, 7, 7]
    assert not face.wait_return_true(wanted, 0, 0.001, 7, of=9)
    assert not face.wait_return_false(wanted, 0.01, 0.001, 7, of=1)
    assert face.wait_return_false(wanted, 0, 0.5, 7, of=10**6)
    with pytest.raises(ZeroDivisionError):
        face.wait_return_true(lambda: 1 / 0, LONG)


@pytest.mark.parametrize("colour", ["asyncio", "trio"])
def test_awaited_function(colour):
    from autowait_tools import Face

    async def even(number):
        return number % 2 == 0

    face = Face(colour)
    assert face.wait_return_true(even, LONG, 0.5, 4)
    assert not face.wait_return_false(even, 0.01, 0.5, 4)
    assert face.wait_return_false(even, LONG, 0.5, 5)


def test_time_is_counted_once(threads, tmp_path):
    """Nested time-outs of the older library added up, and sleeps alone were counted."""

    def slow():
        time.sleep(0.05)

    start = time.monotonic()
    assert not threads.wait_return_true(slow, 0.2, 0.1)
    assert not threads.wait_until_process_used_ports(tmp_path / "x", [1, 2], 0.1)
    assert not threads.wait_until_file_exist(tmp_path, "x", 0.1, 2)
    assert 0.4 <= time.monotonic() - start < 3


def test_file_that_comes_before_the_end_is_found_at_the_end(threads, tmp_path):
    path = tmp_path / "x"
    with happening(path.touch, after=0.2):
        start = time.monotonic()
        assert threads.wait_until_file_exist(tmp_path, "x", 0.6, 5)
    assert time.monotonic() - start < 5
