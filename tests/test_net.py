"""Names, addresses and ports of this host, with and without DNS or a network."""

import contextlib
import socket
import sys

import pytest

import cup.net
from cup.errors import InvalidType, InvalidValue, NetError

net = cup.net


def no_dns(*args, **kwargs):
    raise socket.gaierror(-3, "Temporary failure in name resolution")


class NoNetwork(socket.socket):
    def connect(self, address):
        raise OSError(101, "Network is unreachable")


@contextlib.contextmanager
def listener(family=socket.AF_INET, host="127.0.0.1"):
    with socket.socket(family, socket.SOCK_STREAM) as server:
        server.bind((host, 0))
        server.listen()
        yield server.getsockname()[1]


def unused_port():
    with listener() as port:
        return port


def ipv6_works():
    try:
        with listener(socket.AF_INET6, "::1"):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not ipv6_works(), reason="needs IPv6")


# Names and addresses


def test_hostname():
    assert net.get_local_hostname() == socket.gethostname()


def test_a_host_without_a_name_is_localhost(monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "")
    assert net.get_local_hostname() == "localhost"


def test_own_address_is_an_ipv4_address():
    socket.inet_aton(net.get_hostip())


def test_own_address_needs_no_dns(monkeypatch):
    expected = net.get_hostip()
    monkeypatch.setattr(socket, "gethostbyname", no_dns)
    assert net.get_hostip() == expected
    assert net.get_hostip(net.get_local_hostname()) == expected
    assert net.get_hostip("localhost") == "127.0.0.1"


def test_own_address_without_a_network_is_that_of_the_name(monkeypatch):
    monkeypatch.setattr(socket, "socket", NoNetwork)
    monkeypatch.setattr(socket, "gethostbyname", lambda name: "10.1.2.3")
    assert net.get_hostip() == "10.1.2.3"


def test_own_address_without_network_and_dns_is_loopback(monkeypatch):
    monkeypatch.setattr(socket, "socket", NoNetwork)
    monkeypatch.setattr(socket, "gethostbyname", no_dns)
    assert net.get_hostip() == "127.0.0.1"


def test_a_system_that_answers_no_address_at_all(monkeypatch):
    class Nowhere(socket.socket):
        def connect(self, address):
            pass

    monkeypatch.setattr(socket, "socket", Nowhere)
    monkeypatch.setattr(socket, "gethostbyname", no_dns)
    assert net.get_hostip() == "127.0.0.1"


def test_an_address_is_its_own_answer():
    assert net.get_hostip("127.0.0.1") == "127.0.0.1"
    assert net.get_hostip("localhost").startswith("127.")


def test_an_unknown_host_is_an_error(monkeypatch):
    monkeypatch.setattr(socket, "gethostbyname", no_dns)
    with pytest.raises(NetError, match=r"no IPv4 address is known for 'no\.such'"):
        net.get_hostip("no.such")


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 300])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(InvalidValue):
        net.get_hostip(name)
    with pytest.raises(InvalidValue):
        net.port_listened(name, 80)


@pytest.mark.parametrize("name", [5, b"localhost"])
def test_what_is_no_text_is_refused(name):
    with pytest.raises(InvalidType):
        net.get_hostip(name)


# Ports


def test_listened_and_free():
    with listener() as port:
        assert net.port_listened("127.0.0.1", port)
        assert net.port_listened("localhost", port)
        assert not net.localport_free(port)
    assert not net.port_listened("127.0.0.1", port)
    assert net.localport_free(port)


def test_a_listener_on_every_address_uses_the_port():
    with listener(host="") as port:
        assert not net.localport_free(port)


@needs_ipv6
@pytest.mark.parametrize("host", ["::1", "::"])
def test_a_listener_on_ipv6_uses_the_port(host):
    with listener(socket.AF_INET6, host) as port:
        assert not net.localport_free(port)
        assert net.port_listened("::1", port)


def test_without_ipv6_a_port_is_free_all_the_same(monkeypatch):
    port = unused_port()

    class OnlyIPv4(socket.socket):
        def __init__(self, family=socket.AF_INET, *args, **kwargs):
            if family == socket.AF_INET6:
                raise OSError(net.errno.EAFNOSUPPORT, "not here")
            super().__init__(family, *args, **kwargs)

    monkeypatch.setattr(socket, "socket", OnlyIPv4)
    assert net.localport_free(port)


@pytest.mark.skipif(sys.platform == "win32", reason="no privileged ports")
def test_a_port_that_may_not_be_bound_is_asked(monkeypatch):
    class Unprivileged(socket.socket):
        def bind(self, address):
            raise PermissionError(13, "Permission denied")

    with listener() as port:
        monkeypatch.setattr(socket, "socket", Unprivileged)
        assert not net.localport_free(port)
    assert net.localport_free(port)


def test_closing_connections_do_not_use_a_port():
    with listener() as port, socket.create_connection(("127.0.0.1", port)) as client:
        assert client.getpeername()[1] == port
    assert net.localport_free(port)


def test_a_silent_host_is_not_listened(monkeypatch):
    def silent(address, timeout):
        assert timeout == 0.25
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket, "create_connection", silent)
    assert not net.port_listened("192.0.2.1", 80, timeout=0.25)


def test_a_connection_to_itself_is_no_listener(monkeypatch):
    port = unused_port()
    with socket.socket() as itself:
        itself.bind(("127.0.0.1", port))
        itself.connect(("127.0.0.1", port))
        monkeypatch.setattr(socket, "create_connection", lambda *args: itself)
        assert not net.port_listened("127.0.0.1", port)


def test_ports_of_an_unknown_host_are_an_error(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", no_dns)
    with pytest.raises(NetError, match=r"no address is known for 'no\.such'"):
        net.port_listened("no.such", 80)


@pytest.mark.parametrize("port", [0, -1, 65536, 1 << 40])
def test_ports_out_of_range_are_refused(port):
    with pytest.raises(InvalidValue, match="from 1 to 65535"):
        net.localport_free(port)
    with pytest.raises(InvalidValue, match=f"the port is {port}"):
        net.port_listened("localhost", port)


@pytest.mark.parametrize("port", ["80", 80.0, None, True])
def test_ports_that_are_no_integers_are_refused(port):
    with pytest.raises(InvalidType, match="give an integer"):
        net.localport_free(port)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf")])
def test_time_outs_that_make_no_sense_are_refused(timeout):
    with pytest.raises(InvalidValue, match="above 0"):
        net.port_listened("localhost", 80, timeout=timeout)
