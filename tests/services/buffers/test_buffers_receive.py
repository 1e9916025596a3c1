"""Streams of every kind are received into buffers: whole and in order."""

import contextlib
import random
import socket
import sys

import anyio
import pytest
from anyio.abc import ByteReceiveStream
from anyio.streams.tls import TLSStream
from buffers_tools import content, settled, tcp_pair, tls_contexts

from cup.errors import (
    BufferOverflow,
    BufferReleased,
    InvalidType,
    InvalidValue,
    LoopGone,
)
from cup.services.buffers import BufferPool, receive_into, send_from
from cup.services.buffers.aio_port import TransportPort, port_of

SIZE = 4096


@pytest.fixture
def pool():
    pool = BufferPool(pool_size=1100, block_size=SIZE, leaks="full")
    yield pool
    assert settled(pool)


@pytest.fixture
def loop_name(anyio_backend_name):
    return anyio_backend_name


# Each kind gives an end to use, and the plain socket at its other end.


@contextlib.asynccontextmanager
async def plain_socket(folder):
    with tcp_pair() as (near, far):
        near.setblocking(False)
        far.setblocking(False)
        yield near, far


@contextlib.asynccontextmanager
async def anyio_stream(folder):
    with socket.create_server(("127.0.0.1", 0)) as server:
        async with await anyio.connect_tcp(*server.getsockname()) as near:
            far, _ = server.accept()
            with far:
                far.setblocking(False)
                yield near, far


@contextlib.asynccontextmanager
async def anyio_unix_stream(folder):
    path = str(folder / "socket")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        async with await anyio.connect_unix(path) as near:
            far, _ = server.accept()
            with far:
                far.setblocking(False)
                yield near, far


@contextlib.asynccontextmanager
async def trio_socket(folder):
    import trio

    with tcp_pair() as (near, far):
        far.setblocking(False)
        with trio.socket.from_stdlib_socket(near.dup()) as sock:
            yield sock, far


@contextlib.asynccontextmanager
async def trio_stream(folder):
    import trio

    with tcp_pair() as (near, far):
        far.setblocking(False)
        sock = trio.socket.from_stdlib_socket(near.dup())
        async with trio.SocketStream(sock) as stream:
            yield stream, far


class Copied(ByteReceiveStream):
    """A stream that nobody knows, over one that is known."""

    def __init__(self, stream):
        self.stream = stream

    async def receive(self, max_bytes=65536):
        return await self.stream.receive(max_bytes)

    async def send(self, item):
        await self.stream.send(item)

    async def aclose(self):
        await self.stream.aclose()


@contextlib.asynccontextmanager
async def unknown_stream(folder):
    async with anyio_stream(folder) as (near, far):
        yield Copied(near), far


KINDS = [plain_socket, anyio_stream, unknown_stream]
if sys.platform != "win32":
    KINDS += [anyio_unix_stream]
TRIO_KINDS = [trio_socket, trio_stream]


@pytest.fixture(params=[*KINDS, *TRIO_KINDS], ids=lambda kind: kind.__name__)
def kind(request, loop_name):
    if request.param in TRIO_KINDS and loop_name != "trio":
        pytest.skip("of trio")
    return request.param


async def feed(far, data, dice=None):
    """Send through a plain socket, in pieces, and close that side."""
    at = 0
    while at < len(data):
        step = dice.randrange(1, 200_000) if dice else 1 << 20
        try:
            at += far.send(data[at : at + step])
        except BlockingIOError:
            await anyio.wait_writable(far)
        if dice and dice.random() < 0.3:
            await anyio.sleep(dice.random() * 0.002)
    far.shutdown(socket.SHUT_WR)


async def drain(far, size):
    """Receive so much through a plain socket."""
    parts = bytearray()
    while len(parts) < size:
        try:
            part = far.recv(1 << 16)
        except BlockingIOError:
            await anyio.wait_readable(far)
        else:
            assert part
            parts += part
    return bytes(parts)


async def test_what_is_sent_arrives(kind, pool, tmp_path):
    data = content(2_000_000)
    async with kind(tmp_path) as (near, far), anyio.create_task_group() as tasks:
        with await pool.aio.acquire(600) as buffer:
            tasks.start_soon(feed, far, data, random.Random(5))
            counts = []
            while count := await receive_into(near, buffer):
                counts.append(count)
            assert sum(counts) == len(data) == buffer.length()
            assert buffer.tobytes() == data
            assert buffer.tell() == 0
            assert await receive_into(near, buffer) == 0  # again


async def test_what_is_received_is_sent(kind, pool, tmp_path):
    if kind is unknown_stream:
        pytest.skip("receives only")
    data = content(2_000_000)
    async with kind(tmp_path) as (near, far), anyio.create_task_group() as tasks:
        with await pool.aio.acquire(600) as buffer:
            buffer.set(data)
            buffer.seek(1000)
            got = []

            async def keep():
                got.append(await drain(far, len(data) - 1000))

            tasks.start_soon(keep)
            assert await send_from(near, buffer) == len(data) - 1000
            assert buffer.tell() == len(data)
            assert await send_from(near, buffer) == 0
    assert got == [data[1000:]]


async def test_both_directions_at_once(kind, pool, tmp_path):
    if kind is unknown_stream:
        pytest.skip("receives only")
    data, back = content(1_000_000, 1), content(1_000_000, 2)
    async with kind(tmp_path) as (near, far):
        with (
            await pool.aio.acquire(250) as incoming,
            await pool.aio.acquire(250) as outgoing,
        ):
            outgoing.set(back)
            got = []

            async def keep():
                got.append(await drain(far, len(back)))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(keep)
                tasks.start_soon(feed, far, data)
                tasks.start_soon(send_from, near, outgoing)
                while await receive_into(near, incoming):
                    pass
            assert incoming.tobytes() == data
    assert got == [back]


async def test_a_cancelled_wait_loses_nothing(kind, pool, tmp_path, anyio_backend):
    if kind is anyio_unix_stream and "use_uvloop" in str(anyio_backend):
        pytest.skip("anyio's own receive may raise InvalidStateError when cancelled")
    data = content(400_000)
    dice = random.Random(7)
    async with kind(tmp_path) as (near, far), anyio.create_task_group() as tasks:
        with await pool.aio.acquire(120) as buffer:
            with anyio.move_on_after(0.005) as scope:
                await receive_into(near, buffer)
            assert scope.cancelled_caught
            tasks.start_soon(feed, far, data, dice)
            ended = False
            while not ended:
                with anyio.move_on_after(dice.random() * 0.0004):
                    ended = not await receive_into(near, buffer)
            assert buffer.tobytes() == data


async def test_streams_can_be_read_by_their_own_methods_in_between(pool):
    data = content(300_000)
    async with anyio_stream(None) as (near, far), anyio.create_task_group() as tasks:
        with await pool.aio.acquire(100) as buffer:
            tasks.start_soon(feed, far, data, random.Random(9))
            while buffer.length() < len(data):
                await receive_into(near, buffer)
                if buffer.length() < len(data):
                    buffer.append(await near.receive(100))
            assert buffer.tobytes() == data
            with pytest.raises(anyio.EndOfStream):
                await near.receive()


async def test_no_view_is_held_while_it_waits(kind, pool, tmp_path):
    async with kind(tmp_path) as (near, far):
        buffer = await pool.aio.acquire(2)
        async with anyio.create_task_group() as tasks:

            async def receive():
                with contextlib.suppress(BufferReleased):
                    await receive_into(near, buffer)

            tasks.start_soon(receive)
            await anyio.wait_all_tasks_blocked()
            buffer.release()
            stats = pool.stats()
            assert (stats.held, stats.free) == (0, 1100)
            far.send(b"late")
        other = await pool.aio.acquire(1100)
        other.truncate(other.maxsize())
        assert b"late" not in other.tobytes()
        other.release()


async def test_a_full_buffer_is_an_error(kind, pool, tmp_path):
    async with kind(tmp_path) as (near, far):
        with await pool.aio.acquire(1) as buffer:
            far.send(b"x" * 5000)
            while buffer.length() < SIZE:
                await receive_into(near, buffer)
            with pytest.raises(BufferOverflow, match="no room"):
                await receive_into(near, buffer)
            buffer.clear()
            while buffer.length() < 5000 - SIZE:
                await receive_into(near, buffer)


async def test_a_released_buffer_is_an_error(kind, pool, tmp_path):
    async with kind(tmp_path) as (near, _):
        buffer = await pool.aio.acquire(1)
        buffer.release()
        for call in (receive_into, send_from):
            with pytest.raises(BufferReleased):
                await call(near, buffer)


async def test_two_receivers_are_refused(pool):
    async with anyio_stream(None) as (near, far):
        with await pool.aio.acquire(1) as one, await pool.aio.acquire(1) as two:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(receive_into, near, one)
                await anyio.wait_all_tasks_blocked()
                with pytest.raises(anyio.BusyResourceError):
                    await receive_into(near, two)
                with pytest.raises(anyio.BusyResourceError):
                    await near.receive()
                far.send(b"one")
            assert one.tobytes() == b"one"


async def test_closing_ends_the_wait(pool):
    async with anyio_stream(None) as (near, far):
        with await pool.aio.acquire(1) as buffer:
            async with anyio.create_task_group() as tasks:

                async def receive():
                    with pytest.raises(anyio.ClosedResourceError):
                        await receive_into(near, buffer)

                tasks.start_soon(receive)
                await anyio.wait_all_tasks_blocked()
                await near.aclose()
            with pytest.raises(anyio.ClosedResourceError):
                await receive_into(near, buffer)
            with pytest.raises(anyio.ClosedResourceError):
                buffer.set(b"x")
                await send_from(near, buffer)
            far.settimeout(10)
            with contextlib.suppress(ConnectionError):
                assert far.recv(1) == b""  # the connection is gone indeed


def reset(sock):
    """Close the connection rudely."""
    import struct

    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@pytest.mark.parametrize("when", ["before", "meanwhile"])
async def test_a_broken_connection_is_told_as_the_stream_tells_it(
    kind, pool, tmp_path, when, loop_name
):
    errors = (OSError, anyio.BrokenResourceError)
    if loop_name == "trio":
        import trio

        errors += (trio.BrokenResourceError,)
    if kind is anyio_unix_stream:
        pytest.skip("cannot be reset")
    async with kind(tmp_path) as (near, far):
        with await pool.aio.acquire(1) as buffer:

            async def receive():
                with pytest.raises(errors):
                    while await receive_into(near, buffer):
                        pass

            if when == "before":
                reset(far)
                await receive()
            else:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(receive)
                    await anyio.wait_all_tasks_blocked()
                    reset(far)


async def test_what_anyio_has_read_already_comes_first(pool, loop_name):
    async with anyio_stream(None) as (near, far):
        with await pool.aio.acquire(3) as buffer:
            far.send(b"0123456789")
            assert await near.receive(4) == b"0123"  # the rest is in its own queue
            far.send(b"abc")
            while buffer.length() < 9:
                await receive_into(near, buffer)
            assert buffer.tobytes() == b"456789abc"


@pytest.mark.skipif(sys.platform == "win32", reason="copies there")
async def test_anyio_streams_are_read_directly(loop_name):
    async with anyio_stream(None) as (near, far):
        port = port_of(near)
        assert port is not None, "anyio has changed: look into aio_port"
        assert isinstance(port, TransportPort) == (loop_name == "asyncio")
        far.send(b"0123")
        await near.receive(2)
        assert (port_of(near) is None) == (loop_name == "asyncio")
        await near.receive(2)
        port = port_of(near)
        await near.aclose()
        # Its number may be that of another file soon.
        assert port.fileno() == -1 or not port.may_write()


async def test_tls_of_anyio(pool, tmp_path):
    data, back = content(700_000, 1), content(300_000, 2)
    server, client = tls_contexts(tmp_path)
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)

    async def serve(raw):
        async with await TLSStream.wrap(
            raw, server_side=True, ssl_context=server
        ) as far:
            await far.send(data)
            got = b""
            while len(got) < len(back):
                got += await far.receive()
            assert got == back

    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        near = await anyio.connect_tcp(
            "127.0.0.1", port, ssl_context=client, tls_hostname="localhost"
        )
        async with near:
            with await pool.aio.acquire(250) as buffer:
                while buffer.length() < len(data):
                    await receive_into(near, buffer)
                assert buffer.tobytes() == data
                buffer.set(back)
                assert await send_from(near, buffer) == len(back)
                buffer.clear()
                assert await receive_into(near, buffer) == 0
        tasks.cancel_scope.cancel()


async def test_tls_of_the_standard_library(pool, tmp_path):
    data = content(300_000)
    server, client = tls_contexts(tmp_path)
    with tcp_pair() as (left, right):

        def accept():
            with server.wrap_socket(right, server_side=True) as far:
                far.sendall(data)
                assert far.recv(5) == b"thank"

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, accept)
            near = await anyio.to_thread.run_sync(
                lambda: client.wrap_socket(left, server_hostname="localhost")
            )
            near.setblocking(False)
            with near, await pool.aio.acquire(100) as buffer:
                while buffer.length() < len(data):
                    assert await receive_into(near, buffer)
                assert buffer.tobytes() == data
                buffer.set(b"thank")
                await send_from(near, buffer)
                buffer.clear()
                assert await receive_into(near, buffer) == 0


async def test_a_process_is_received_from(pool):
    code = "import sys; sys.stdout.buffer.write(bytes(range(256)) * 1000)"
    async with await anyio.open_process([sys.executable, "-c", code]) as process:
        with await pool.aio.acquire(80) as buffer:
            while await receive_into(process.stdout, buffer):
                pass
            assert buffer.tobytes() == bytes(range(256)) * 1000


async def test_what_is_no_stream_is_refused(pool):
    with await pool.aio.acquire(1) as buffer, tcp_pair() as (near, _):
        for call in (receive_into, send_from):
            buffer.set(b"x")
            with pytest.raises(InvalidType, match="object is no stream"):
                await call(object(), buffer)
            with pytest.raises(InvalidValue, match="setblocking"):
                await call(near, buffer)


class Foreign:
    """A stream that is none of anyio's: trio's, or somebody's own."""

    def __init__(self, data=b""):
        self.data = bytearray(data)

    async def receive_some(self, most):
        chunk = bytes(self.data[:most])
        del self.data[:most]
        return chunk

    async def send_all(self, chunk):
        self.data += chunk


async def test_streams_of_others_are_received_from_and_sent_to(pool):
    data = content(3 * SIZE)
    came, gone = Foreign(data), Foreign()
    with await pool.aio.acquire(4) as buffer:
        while await receive_into(came, buffer):
            pass
        assert buffer.tobytes() == data
        assert await send_from(gone, buffer) == len(data)
        assert gone.data == data


def test_without_a_loop_it_says_so(pool):
    with pool.acquire() as buffer, tcp_pair() as (near, _):
        near.setblocking(False)
        coroutine = receive_into(near, buffer)
        with pytest.raises(LoopGone):
            coroutine.send(None)


async def test_a_stream_goes_to_a_file_without_a_copy(kind, pool, tmp_path):
    data = content(1_000_000)
    async with kind(tmp_path) as (near, far), anyio.create_task_group() as tasks:
        tasks.start_soon(feed, far, data, random.Random(3))
        with (
            await pool.aio.acquire(16) as buffer,
            (tmp_path / "file").open("wb", buffering=0) as file,
        ):
            while await receive_into(near, buffer):
                buffer.writevall(file.fileno())
                buffer.clear()
    assert (tmp_path / "file").read_bytes() == data
