"""Inside of what users run: servers and workers that start, work, end on SIGTERM."""

import json
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from surroundings_tools import ask, free_port, load, needs, running, wait_for_server

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="has no SIGTERM")

ASGI = """
import contextlib, json, signal, sys, threading, time
import anyio, uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from cup.services.buffers import AsyncBufferPool
from cup.services.generator import AsyncUUID7Generator
from cup.services.threadpool import AsyncThreadPool
from cup.thread import RWLock

config, lock = {"version": 0}, RWLock(name="config")
ids = AsyncUUID7Generator()

@contextlib.asynccontextmanager
async def lifespan(app):
    async with AsyncThreadPool(max_workers=4) as pool:
        app.state.pool, app.state.memory = pool, AsyncBufferPool(8, 4096)
        yield
    used = app.state.memory.stats().used
    print(json.dumps({"done": pool.stats().done, "used": used,
                      "threads": threading.active_count()}))

async def ready(request):
    return JSONResponse("yes")

def slow_square(number):
    time.sleep(0.002)
    with lock.read():
        return number * number, config["version"]

async def square(request):
    number = int(request.path_params["number"])
    result, version = await request.app.state.pool.run(slow_square, number)
    with await request.app.state.memory.acquire(2) as buffer:
        buffer.set(str(result))
        text = buffer.tobytes().decode()
    made = str(await ids.next_id())
    return JSONResponse({"id": made, "result": int(text)})

async def change(request):
    async with lock.aio.write():
        config["version"] += 1
        return JSONResponse(config["version"])

async def slow(request):
    print("slow", flush=True)
    await anyio.sleep(0.3)
    return JSONResponse((await request.app.state.pool.run(slow_square, 5))[0])

app = Starlette(lifespan=lifespan, routes=[
    Route("/ready", ready), Route("/square/{number}", square),
    Route("/change", change), Route("/slow", slow)])
# uvicorn passes the signal on when it has ended: so that the interpreter ends, too.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), loop=sys.argv[2],
            log_level="warning")
"""


@pytest.mark.full
@needs("starlette")
@needs("uvicorn")
@pytest.mark.parametrize(
    "loop", ["asyncio", pytest.param("uvloop", marks=needs("uvloop"))]
)
def test_a_web_application(loop, tmp_path):
    port = free_port()
    with running(ASGI, port, loop, folder=tmp_path) as program:
        wait_for_server(port, program)
        paths = [f"/square/{n}" if n % 10 else "/change" for n in range(200)]
        answers = [json.loads(answer) for answer in load(port, paths)]
        with ThreadPoolExecutor(1) as client:
            slow = client.submit(ask, port, "/slow")
            assert program.line() == "slow", program.told()
            status, out = program.terminate()
            assert slow.result() == "25"  # what had begun was answered
        told = program.told()
    assert (status, told) == (0, "")
    squares = [answer for answer in answers if isinstance(answer, dict)]
    assert [one["result"] for one in squares] == [n * n for n in range(200) if n % 10]
    assert len({one["id"] for one in squares}) == 180
    changes = [answer for answer in answers if isinstance(answer, int)]
    assert sorted(changes) == [*range(1, 21)]
    end = json.loads(out.splitlines()[-1])
    assert end == {"done": 181, "used": 0, "threads": 1}


WSGI = """
import json, signal, sys, threading, time
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from cup.services.generator import CounterGenerator
from cup.services.threadpool import ThreadPool
from cup.thread import RWLock

class Server(ThreadingMixIn, WSGIServer):
    pass

class Handler(WSGIRequestHandler):
    def log_message(self, *_):
        pass

pool, lock, ids, pages = ThreadPool(max_workers=4), RWLock(), CounterGenerator(), {}

def render(path):
    with lock.read():
        known = pages.get(path)
    if known is None:
        with lock.write():
            known = pages.setdefault(path, f"{path} {ids.next_id()}")
    return known

def application(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        print("slow", flush=True)
        time.sleep(0.3)
    text = pool.run(render, environ["PATH_INFO"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [text.encode()]

with make_server("127.0.0.1", int(sys.argv[1]), application, Server, Handler) as server:
    ender = threading.Thread(target=server.shutdown)
    signal.signal(signal.SIGTERM, lambda *_: ender.start())
    server.serve_forever()
ender.join()
report = pool.stop()
print(json.dumps({"done": report.done, "pages": len(pages), "ended": bool(report),
                  "threads": threading.active_count()}))
"""


def test_a_worker_with_threads(tmp_path):
    port = free_port()
    with running(WSGI, port, folder=tmp_path) as program:
        wait_for_server(port, program)
        paths = [f"/page/{n % 20}" for n in range(200)]
        answers = load(port, paths)
        with ThreadPoolExecutor(1) as client:
            slow = client.submit(ask, port, "/slow")
            assert program.line() == "slow", program.told()
            status, out = program.terminate()
            assert slow.result().startswith("/slow ")  # what had begun was answered
        told = program.told()
    assert (status, told) == (0, "")
    assert set(Counter(answers).values()) == {10}
    assert len({answer.split()[1] for answer in answers}) == 20
    end = json.loads(out)
    assert end == {"done": 202, "pages": 22, "ended": True, "threads": 1}


TRIO = """
import signal, threading
import trio
from cup.services.threadpool import AsyncThreadPool
from cup.thread import AsyncRWLock

async def work(pool, lock, shared, cancelled):
    try:
        while True:
            number = await pool.run(pow, 2, 3)
            async with lock.write():
                shared.append(number)
    finally:
        cancelled.append(None)

async def main():
    shared, cancelled, lock = [], [], AsyncRWLock()
    async with AsyncThreadPool(max_workers=2) as pool:
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            async with trio.open_nursery() as nursery:
                for _ in range(10):
                    nursery.start_soon(work, pool, lock, shared, cancelled)
                while len(shared) < 100:
                    await trio.sleep(0.001)
                print("ready", flush=True)
                async for _ in signals:
                    nursery.cancel_scope.cancel()
    stats = pool.stats()
    print(set(shared), len(cancelled), lock.stats().writer, stats.running,
          stats.queued, threading.active_count())

trio.run(main)
"""


@needs("trio")
def test_a_trio_program(tmp_path):
    with running(TRIO, folder=tmp_path) as program:
        assert program.line() == "ready", program.told()
        status, out = program.terminate()
        told = program.told()
    assert (status, told) == (0, "")
    assert out == "{8} 10 None 0 0 1\n"
