"""System calls scatter into blocks and gather from them, also in pieces."""

import os
import select
import socket
import sys

import pytest
from buffers_tools import content, in_thread, settled, tcp_pair, tls_pair

from cup.errors import BufferReleased
from cup.services.buffers import BufferPool, _core_buffer as buffer_module

SIZE = 100
unix_only = pytest.mark.skipif(sys.platform == "win32", reason="needs socketpair, fds")


@pytest.fixture
def pool():
    pool = BufferPool(pool_size=6000, block_size=SIZE)
    yield pool
    assert settled(pool)


@pytest.fixture(params=["scatter", "one block at a time"])
def system(request, monkeypatch):
    """Play on this system, and on one that has no scattering calls."""
    if request.param != "scatter":
        monkeypatch.setattr(buffer_module.sys, "platform", "win32")
    return request.param


@pytest.fixture
def pair():
    left, right = socket.socketpair()
    with left, right:
        yield left, right


def one_call(system, blocks, size=SIZE):
    return blocks * size if system == "scatter" else size


def test_files(pool, system, tmp_path):
    data = content(2500)
    (tmp_path / "in").write_bytes(data)
    with (
        pool.acquire(30) as buffer,
        (tmp_path / "in").open("rb", buffering=0) as source,
        (tmp_path / "out").open("wb", buffering=0) as target,
    ):
        buffer.set(b"head")
        counts = []
        while count := buffer.readv(source.fileno()):
            counts.append(count)
        assert counts[0] == (2500 if system == "scatter" else SIZE - 4)
        assert buffer.tobytes() == b"head" + data
        buffer.seek(4)
        assert buffer.writevall(target.fileno()) == 2500
        assert buffer.writev(target.fileno()) == 0
        assert buffer.tell() == 2504
    assert (tmp_path / "out").read_bytes() == data


def test_a_full_buffer_reads_nothing(pool, pair, tmp_path):
    left, right = pair
    right.sendall(b"more")
    with pool.acquire(2) as buffer:
        buffer.set(b"x" * 200)
        assert buffer.recvmsg_into(left) == 0
        r, w = os.pipe()
        os.write(w, b"more")
        assert buffer.readv(r) == 0
        assert os.read(r, 10) == b"more"
        os.close(r)
        os.close(w)
    assert left.recv(10) == b"more"


def test_one_call_fills_and_sends_many_blocks(pool, pair, system):
    left, right = pair
    data = content(950)
    with pool.acquire(20) as buffer, pool.acquire(20) as other:
        buffer.set(data)
        buffer.seek(7)
        assert buffer.sendmsg(left) == (943 if system == "scatter" else 93)
        buffer.sendall(left)
        left.shutdown(socket.SHUT_WR)
        first = other.recvmsg_into(right)
        assert first == (943 if system == "scatter" else SIZE)
        while other.recvmsg_into(right):
            pass
        assert other.tobytes() == data[7:]
        assert buffer.sendmsg(left) == 0


def test_partial_transfers_without_blocking(pool, pair, system):
    left, right = pair
    left.setblocking(False)
    right.setblocking(False)
    left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    data = content(300_000)
    pool = BufferPool(pool_size=2000, block_size=300)
    with pool.acquire(1000) as buffer, pool.acquire(1000) as other:
        with pytest.raises(BlockingIOError):
            other.recvmsg_into(right)
        assert other.length() == 0
        buffer.set(data)
        with pytest.raises(BlockingIOError):
            buffer.sendall(left)  # nobody reads
        assert 0 < buffer.tell() < len(data)
        while other.length() < len(data):
            try:
                buffer.sendmsg(left)
            except BlockingIOError:
                pass
            assert buffer.tell() >= other.length()
            try:
                other.recvmsg_into(right)
            except BlockingIOError:
                pass
        assert other.tobytes() == data


@unix_only
def test_more_blocks_than_one_call_takes(pool, tmp_path):
    data = content(2800 * SIZE + 50)
    path = tmp_path / "file"
    path.write_bytes(data)
    most = buffer_module._IOV_MAX
    assert 16 <= most <= 1024
    with pool.acquire(2900) as buffer:
        with path.open("rb") as file:
            assert buffer.readv(file.fileno()) == most * SIZE
            while buffer.readv(file.fileno()):
                pass
        assert buffer.tobytes() == data
        with path.open("wb") as file:
            assert buffer.writev(file.fileno()) == most * SIZE
            buffer.writevall(file.fileno())
    assert path.read_bytes() == data


@unix_only
@pytest.mark.parametrize(("says", "takes"), [(8, 8), (-1, 16), (99999, 1024)])
def test_what_one_call_takes_is_asked(monkeypatch, says, takes):
    monkeypatch.setattr(os, "sysconf", lambda name: says)
    assert buffer_module._iov_max() == takes


@unix_only
def test_a_system_that_does_not_tell(monkeypatch):
    def refuse(name):
        raise ValueError(name)

    monkeypatch.setattr(os, "sysconf", refuse)
    assert buffer_module._iov_max() == 16
    monkeypatch.setattr(buffer_module.sys, "platform", "win32")
    assert buffer_module._iov_max() == 1


def test_tcp_in_both_directions_at_once(pool):
    data = content(1000 * SIZE)
    with (
        tcp_pair() as (left, right),
        pool.acquire(1000) as buffer,
        pool.acquire(1000) as other,
    ):
        buffer.set(data)
        with in_thread(buffer.sendall, left):
            while other.length() < len(data):
                other.recvmsg_into(right)
        assert other.tobytes() == data


def test_tls(pool, tmp_path):
    data = content(50_000)
    with (
        tls_pair(tmp_path) as (near, far),
        pool.acquire(500) as buffer,
        pool.acquire(500) as other,
    ):
        buffer.set(data)
        with in_thread(buffer.sendall, near):
            while other.length() < len(data):
                assert other.recvmsg_into(far) <= SIZE
        assert other.tobytes() == data


@unix_only
def test_pipes_break_in_the_middle(pool):
    r, w = os.pipe()
    os.set_blocking(w, False)
    with pool.acquire(2000) as buffer:
        buffer.truncate(200_000)
        with pytest.raises(BlockingIOError):
            buffer.writevall(w)
        at = buffer.tell()
        assert 0 < at < 200_000
        got = 0
        while got < at:
            got += len(os.read(r, 65536))
        assert got == at
        os.close(r)
        with pytest.raises(BrokenPipeError):
            buffer.writev(w)
        assert buffer.tell() == at
    os.close(w)
    assert not select.select([], [], [], 0)[0]


def test_a_released_buffer_is_not_sent(pool):
    buffer = pool.acquire(2)
    buffer.set(b"abc")
    buffer.release()
    with pytest.raises(BufferReleased):
        buffer.writevall(-1)
    with pytest.raises(BufferReleased):
        buffer.sendall(None)
