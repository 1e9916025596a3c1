"""asyncio's own protocols receive into buffers, on asyncio and uvloop, TLS as well."""

import asyncio
from importlib.util import find_spec

import pytest
from buffers_tools import content, settled, tls_contexts

from cup.errors import BufferReleased
from cup.services.buffers import BufferedReceiver, BufferPool
from cup.services.buffers.aio_protocol import Tap

SIZE = 4096


@pytest.fixture(
    params=[
        "asyncio",
        pytest.param(
            ("asyncio", {"use_uvloop": True}),
            marks=pytest.mark.skipif(not find_spec("uvloop"), reason="needs uvloop"),
            id="uvloop",
        ),
    ]
)
def anyio_backend(request):
    """Run on the loops that have protocols."""
    return request.param


@pytest.fixture
def pool():
    pool = BufferPool(pool_size=300, block_size=SIZE, leaks="full")
    yield pool
    assert settled(pool)


class Keeper(BufferedReceiver):
    """Keeps all that comes in one small buffer after the other."""

    def __init__(self, pool, blocks):
        super().__init__(pool.acquire(blocks))
        self.pool = pool
        self.got = bytearray()
        self.told = 0
        self.times_full = 0
        self.ended = asyncio.get_running_loop().create_future()

    def received(self, count):
        self.told += count

    def full(self):
        assert self.paused
        self.times_full += 1
        # As one who needs a while: not in this callback.
        asyncio.get_running_loop().call_soon(self.change)

    def change(self):
        if self.ended.done():
            return
        self.got += self.buffer.tobytes()
        self.buffer.release()
        self.buffer = self.pool.acquire(1 + self.times_full % 3)
        self.resume()

    def connection_lost(self, exc):
        super().connection_lost(exc)
        while self.paused:  # TLS of CPython 3.10 does not heed it
            self.change()
        self.got += self.buffer.tobytes()
        self.buffer.release()
        self.ended.set_result(exc)


async def serve(data, context=None):
    async def send(reader, writer):
        for start in range(0, len(data), 70_000):
            writer.write(data[start : start + 70_000])
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(send, "127.0.0.1", 0, ssl=context)
    return server, server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_all_arrives_through_small_buffers(pool, tls, tmp_path):
    data = content(1_000_000)
    server_context, client_context = tls_contexts(tmp_path) if tls else (None, None)
    server, port = await serve(data, server_context)
    transport, keeper = await asyncio.get_running_loop().create_connection(
        lambda: Keeper(pool, 2),
        "127.0.0.1",
        port,
        ssl=client_context,
        server_hostname="localhost" if tls else None,
    )
    assert await keeper.ended is None
    transport.close()  # TLS of CPython 3.10 warns otherwise
    assert keeper.told == len(data)
    assert bytes(keeper.got) == data
    assert keeper.times_full > 100
    assert keeper.transport is None
    server.close()
    await server.wait_closed()


class Transport:
    """A transport that delivers what it likes."""

    def __init__(self):
        self.reading = True

    def pause_reading(self):
        self.reading = False

    def resume_reading(self):
        self.reading = True


def deliver(protocol, data):
    """Feed a protocol as old TLS transports do, which do not heed a pause."""
    while data:
        target = protocol.get_buffer(len(data))
        assert isinstance(target, memoryview)
        count = min(len(target), len(data))
        assert count
        target[:count] = data[:count]
        protocol.buffer_updated(count)
        data = data[count:]


def test_what_comes_in_spite_of_a_pause_is_kept(pool):
    with pool.acquire(1) as first, pool.acquire(2) as second:
        receiver = BufferedReceiver(first)
        transport = Transport()
        receiver.connection_made(transport)
        assert receiver.transport is transport
        data = content(SIZE * 3 + 5)
        deliver(receiver, data)
        assert (transport.reading, receiver.paused) == (False, True)
        assert first.tobytes() == data[:SIZE]
        receiver.resume()  # no room: goes on waiting
        assert not transport.reading
        receiver.buffer = second
        assert receiver.buffer is second
        receiver.resume()
        assert second.tobytes() == data[SIZE : 3 * SIZE]
        assert (transport.reading, receiver.paused) == (False, True)
        deliver(receiver, b"!!!")
        second.clear()
        receiver.resume()
        assert second.tobytes() == data[3 * SIZE :] + b"!!!"
        assert (transport.reading, receiver.paused) == (True, False)
        receiver.resume()
        deliver(receiver, b"more")
        assert second.tobytes().endswith(b"!!!more")


def test_room_that_is_made_at_once(pool):
    class Emptying(BufferedReceiver):
        got = b""

        def full(self):
            self.got += self.buffer.tobytes()
            self.buffer.clear()
            self.resume()

    with pool.acquire(1) as buffer:
        receiver = Emptying(buffer)
        transport = Transport()
        receiver.connection_made(transport)
        data = content(SIZE * 3)
        deliver(receiver, data)
        assert receiver.got == data
        assert transport.reading
        receiver.connection_lost(None)


def test_room_that_is_made_at_once_a_thousand_times():
    class Emptying(BufferedReceiver):
        got = b""
        switched = False

        def full(self):
            if self.switched:
                self.got += self.buffer.tobytes()
                self.buffer.clear()
                self.resume()

    with BufferPool(pool_size=1, block_size=16).acquire() as buffer:
        receiver = Emptying(buffer)
        transport = Transport()
        receiver.connection_made(transport)
        data = content(48_000)
        deliver(receiver, data)
        receiver.switched = True
        receiver.full()
        assert receiver.got == data
        assert transport.reading


def test_a_transport_that_is_gone_before_it_says_so(pool):
    class Gone:
        def __getattr__(self, name):
            raise AttributeError(name)

    with pool.acquire(1) as buffer:
        receiver = BufferedReceiver(buffer)
        receiver.connection_made(Gone())
        data = content(SIZE + 1)
        deliver(receiver, data)
        assert receiver.paused
        buffer.clear()
        receiver.resume()
        assert not receiver.paused
        assert buffer.tobytes() == data[SIZE:]


def test_a_released_buffer_is_told(pool):
    buffer = pool.acquire(1)
    receiver = BufferedReceiver(buffer)
    deliver(receiver, b"x" * SIZE)
    buffer.release()
    with pytest.raises(BufferReleased):
        receiver.resume()


class Protocol(asyncio.Protocol):
    def __init__(self):
        self.calls = []

    def data_received(self, data):
        self.calls.append(data)

    def eof_received(self):
        self.calls.append("eof")
        return True

    def connection_lost(self, exc):
        self.calls.append(exc)

    def pause_writing(self):
        self.calls.append("pause")

    def resume_writing(self):
        self.calls.append("resume")


async def test_a_tap_passes_on_what_is_not_for_it(pool):
    protocol = Protocol()
    pauses = []
    with pool.acquire(1) as buffer:
        tap = Tap(protocol, buffer, lambda: pauses.append(1))
        tap.pause_writing()
        tap.resume_writing()
        deliver(tap, b"for the buffer")
        assert tap.tapped.done()
        buffer.truncate(SIZE)
        deliver(tap, b"too much")
    deliver(tap, b"too late")
    assert tap.eof_received() is True
    error = ConnectionError()
    tap.connection_lost(error)
    assert (tap.lost, tap.error, tap.count) == (True, error, 14)
    assert protocol.calls == ["pause", "resume", b"too much", b"too late", "eof", error]
    assert len(pauses) == 3
