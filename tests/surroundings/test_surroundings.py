"""Inside of what users run: servers and workers that start, work, end on SIGTERM."""

import json
import sys
from collections import Counter
from importlib.util import find_spec

import pytest
from surroundings_tools import free_port, load, running, wait_for_server

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="has no SIGTERM")

ASGI = """
import contextlib, json, sys, threading, time
import uvicorn
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
    print(json.dumps({"stats": pool.stats().done, "used": used,
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

app = Starlette(lifespan=lifespan, routes=[
    Route("/ready", ready), Route("/square/{number}", square),
    Route("/change", change)])
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), loop=sys.argv[2],
            log_level="warning")
"""


@pytest.mark.full
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_web_application(loop, tmp_path):
    for package in ("starlette", "uvicorn", *([loop] if loop == "uvloop" else [])):
        pytest.importorskip(package)
    port = free_port()
    with running(ASGI, port, loop, folder=tmp_path) as program:
        wait_for_server(port, program)
        paths = [f"/square/{n}" if n % 10 else "/change" for n in range(200)]
        answers = [json.loads(answer) for answer in load(port, paths)]
        _, out = program.terminate()
        told = program.told()
    squares = [answer for answer in answers if isinstance(answer, dict)]
    assert [one["result"] for one in squares] == [n * n for n in range(200) if n % 10]
    assert len({one["id"] for one in squares}) == 180
    changes = [answer for answer in answers if isinstance(answer, int)]
    assert sorted(changes) == [*range(1, 21)]
    end = json.loads(out.splitlines()[-1])
    assert (end["stats"], end["used"]) == (180, 0)
    assert end["threads"] == 1
    assert "Traceback" not in told


WSGI = """
import json, signal, sys, threading
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
    text = pool.run(render, environ["PATH_INFO"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [text.encode()]

with make_server("127.0.0.1", int(sys.argv[1]), application, Server, Handler) as server:
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(
        target=server.shutdown).start())
    server.serve_forever()
report = pool.stop()
print(json.dumps({"done": report.done, "pages": len(pages), "ended": bool(report)}))
"""


def test_a_worker_with_threads(tmp_path):
    port = free_port()
    with running(WSGI, port, folder=tmp_path) as program:
        wait_for_server(port, program)
        paths = [f"/page/{n % 20}" for n in range(200)]
        answers = load(port, paths)
        status, out = program.terminate()
        told = program.told()
    assert (status, told) == (0, "")
    assert set(Counter(answers).values()) == {10}
    assert len({answer.split()[1] for answer in answers}) == 20
    end = json.loads(out)
    assert end["pages"] == 21
    assert end["done"] >= 201
    assert end["ended"]


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


@pytest.mark.skipif(not find_spec("trio"), reason="needs trio")
def test_a_trio_program(tmp_path):
    with running(TRIO, folder=tmp_path) as program:
        assert program.line() == "ready", program.told()
        status, out = program.terminate()
        told = program.told()
    assert (status, told) == (0, "")
    assert out.startswith("{8} 10 None 0 0 ")
