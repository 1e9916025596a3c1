"""Ports and Unix sockets."""

import contextlib
import socket
import sys
import threading
import time
from pathlib import Path

import pytest
from autowait_tools import LONG, happening, open_files

from cup.errors import ConditionTimeout, InvalidType, InvalidValue
from cup.services.autowait import (
    PortFree,
    PortOpen,
    UnixSocket,
    _core_netlink as netlink,
    _core_ports as ports,
)

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux kernel")
HAS_V6 = socket.has_ipv6 and Path("/proc/net/if_inet6").exists()
V6 = pytest.mark.skipif(not HAS_V6, reason="no IPv6 here")


@pytest.fixture(params=["netlink", "/proc/net", "connect"])
def way(request, monkeypatch):
    """Ask in each way that there is."""
    if request.param != "netlink":
        monkeypatch.setattr(netlink, "_ask", refuse)
    if request.param == "connect":
        monkeypatch.setattr(ports, "_from_proc", refuse)
    return request.param


def refuse(*_):
    raise OSError(93, "not here")


@contextlib.contextmanager
def free_port(family=socket.AF_INET, address="127.0.0.1"):
    """Give a bound socket that does not listen yet, and its port."""
    with socket.socket(family) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((address, 0))
        yield bound, bound.getsockname()[1]


def test_somebody_listens(face):
    with free_port() as (bound, port):
        assert not face.satisfied(PortOpen(port))
        with happening(bound.listen):
            assert face.wait(PortOpen(port), LONG) == port
        bound.settimeout(0)
        with pytest.raises(BlockingIOError):
            bound.accept()  # nobody connected


def test_nobody_listens_any_more(face):
    with free_port() as (bound, port):
        bound.listen()
        assert not face.satisfied(PortFree(port))
        with happening(bound.close):
            assert face.wait(PortFree(port), LONG) == port


def test_each_way_gives_the_same(threads, way):
    with free_port() as (bound, port):
        assert threads.satisfied(PortFree(port))
        bound.listen()
        assert threads.wait(PortOpen(port), LONG) == port
        assert threads.wait(PortOpen(port, "127.0.0.1"), LONG) == port
        assert threads.wait(PortOpen(port, "localhost"), LONG) == port
        with pytest.raises(ConditionTimeout):
            threads.wait(PortFree(port), 0.05)
        mechanism = threads.look(PortOpen(port)).mechanism
        assert {"netlink": "sock_diag", "connect": "connections"}.get(
            way, way
        ) in mechanism


@LINUX
def test_connections_and_their_remains_do_not_count(threads):
    with free_port() as (bound, port):
        bound.listen()
        with socket.create_connection(("127.0.0.1", port)):
            near, _ = bound.accept()
            near.close()
            bound.close()
            assert threads.satisfied(PortFree(port))


@LINUX
def test_listener_at_another_address(threads):
    with free_port(address="127.0.0.2") as (bound, port):
        bound.listen()
        assert threads.satisfied(PortOpen(port))
        assert threads.satisfied(PortFree(port, "127.0.0.1"))
        with pytest.raises(
            ConditionTimeout, match=r"Nearest: a listener at 127\.0\.0\.2"
        ):
            threads.wait(PortOpen(port, "127.0.0.1"), 0.02)


@V6
@pytest.mark.parametrize("only", [0, 1])
def test_listener_on_ipv6(threads, way, only):
    with socket.socket(socket.AF_INET6) as bound:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
        bound.bind(("::", 0))
        bound.listen()
        port = bound.getsockname()[1]
        assert threads.wait(PortOpen(port, "::1"), LONG) == port
        if way != "connect":
            assert threads.satisfied(PortOpen(port))
        if way != "/proc/net":  # which does not tell
            assert threads.satisfied(PortOpen(port, "127.0.0.1")) == (not only)


@LINUX
def test_kernel_says_what_its_tables_say():
    with free_port() as (bound, port):
        bound.listen()
        assert netlink.inet_listeners(port) == [*ports._from_proc(port)]
        assert ports.shown(netlink.inet_listeners(port)[0]) == "127.0.0.1"


@pytest.mark.parametrize(
    ("listener", "address", "reached"),
    [
        (("127.0.0.1", False), "127.0.0.1", True),
        (("127.0.0.1", False), "127.0.0.2", False),
        (("0.0.0.0", False), "127.0.0.2", True),
        (("0.0.0.0", False), "::1", False),
        (("::", False), "127.0.0.1", True),
        (("::", True), "127.0.0.1", False),
        (("::", True), "::1", True),
        (("::ffff:10.0.0.1", False), "10.0.0.1", True),
        (("::1", False), "127.0.0.1", False),
    ],
)
def test_who_is_reached(listener, address, reached):
    def pack(text):
        return socket.inet_pton(
            socket.AF_INET6 if ":" in text else socket.AF_INET, text
        )

    assert ports.serves((pack(listener[0]), listener[1]), pack(address)) is reached


def test_connecting_where_it_is_asked_for(face):
    with free_port() as (bound, port):
        with happening(bound.listen):
            face.wait(PortOpen(port, "127.0.0.1", probe="connect"), LONG)
        bound.settimeout(LONG)
        bound.accept()[0].close()


def test_connecting_to_oneself_is_no_answer(monkeypatch):
    with free_port() as (_bound, port):
        connector = ports.Connector(ports.Resolver("127.0.0.1", port))
        monkeypatch.setattr(
            socket.socket, "connect_ex", lambda self, place: 0, raising=False
        )
        monkeypatch.setattr(
            socket.socket, "getpeername", socket.socket.getsockname, raising=False
        )
        assert connector.attempt(0.0) is False


def test_full_queue_of_a_server_is_not_waited_for(threads):
    with free_port() as (bound, port):
        bound.listen(0)
        waiting = []
        for _ in range(4):  # fill it
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
            waiting.append(client)
        assert threads.satisfied(PortOpen(port))
        with contextlib.suppress(ConditionTimeout):
            threads.wait(PortOpen(port, "127.0.0.1", probe="connect"), 0.2)
        for client in waiting:
            client.close()


@pytest.mark.parametrize("probe", ["listen", "connect"])
def test_unknown_host(face, monkeypatch, probe):
    asked = threading.Event()

    def unknown(host, *args, flags=0, **kwargs):
        if not flags:
            asked.wait()  # a name server that does not answer
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    condition = PortOpen(80, "no-such-host", probe=probe)
    start = time.monotonic()
    with pytest.raises(ConditionTimeout):
        face.wait(condition, 0.05)
    assert time.monotonic() - start < 5
    asked.set()
    with pytest.raises(ConditionTimeout, match="'no-such-host': Name or service"):
        face.wait(condition, 0.05)


@pytest.mark.parametrize("asked", [True, False])
def test_unix_socket(face, tmp_path, monkeypatch, asked):
    if not asked:
        monkeypatch.setattr(netlink, "unix_listens", refuse)
    path = tmp_path / "run" / "app.sock"
    with socket.socket(socket.AF_UNIX) as server:

        def bind():
            path.parent.mkdir()
            server.bind(str(path))

        with happening(bind, server.listen):
            assert face.wait(UnixSocket(path), LONG) == path
    with pytest.raises(ConditionTimeout, match="nobody listens"):
        face.wait(UnixSocket(path), 0.03)  # the file is still there
    assert face.satisfied(~UnixSocket(path))


def test_unix_socket_bound_by_a_relative_path(threads, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("app.sock")
        server.listen()
        assert threads.satisfied(UnixSocket(tmp_path / "app.sock"))


def test_unix_socket_is_no_other_file(threads, tmp_path):
    (tmp_path / "app.sock").touch()
    assert not threads.satisfied(UnixSocket(tmp_path / "app.sock"))
    with pytest.raises(ConditionTimeout, match="does not exist"):
        threads.wait(UnixSocket(tmp_path / "other.sock"), 0)


@pytest.mark.parametrize(
    ("port", "error"),
    [
        (0, InvalidValue),
        (65536, InvalidValue),
        ("80", InvalidType),
        (True, InvalidType),
    ],
)
def test_nonsense_is_refused(port, error):
    with pytest.raises(error):
        PortOpen(port)
    with pytest.raises(error):
        PortFree(port)


def test_no_descriptor_is_left(threads):
    with free_port() as (_bound, port):
        before = open_files()
        for _ in range(20):
            threads.satisfied(PortOpen(port))
            threads.satisfied(PortOpen(port, "127.0.0.1", probe="connect"))
        assert open_files() == before


def test_a_name_that_no_host_can_have(face):
    with pytest.raises(ConditionTimeout, match="no host can have this name"):
        face.wait(PortOpen(80, "a..b", probe="connect"), 0.05)
