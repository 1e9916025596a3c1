"""A Django application under gunicorn: two workers that are forked, with threads."""

import json
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from surroundings_tools import (
    ask,
    free_port,
    left_over,
    load,
    needs,
    running,
    wait_for,
    wait_for_server,
)

from cup import log

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(sys.platform == "win32", reason="has no SIGTERM"),
]

SITE = """
import atexit, json, os, threading, time
from pathlib import Path
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import path
from cup import log
from cup.services.executor import ExecutionService
from cup.services.generator import (
    CGeneratorMan, FileSlots, SnowflakeGenerator, UUID7Generator)
from cup.services.threadpool import ThreadPool
from cup.thread import RWLock

FOLDER = Path(os.environ["SITE_FOLDER"])
IMPORTED_IN = os.getpid()

log.init_comlog("site", log.INFO, FOLDER / "site.log")
pool, service = ThreadPool(max_workers=4), ExecutionService(name="jobs")
service.start()
lock, ids, names = RWLock(name="config"), UUID7Generator(), CGeneratorMan("site")
flakes = SnowflakeGenerator(worker=FileSlots(FOLDER / "slots"))
config = {"changes": 0, "same": 0}
ticks = []  # the processes that ran the series
series = service.every(0.02, lambda: ticks.append(os.getpid()))

# All of them have threads, or were drawn from, before a server forks.
assert pool.run(abs, -1) == service.after(0.001, abs, -1).result(10) == 1
def make_ids():
    return [str(ids.next_id()), names.get_uniqname(), flakes.next_id()]

with lock.write():
    first = make_ids()

def double(number):
    time.sleep(0.002)
    with lock.read():
        assert config["changes"] == config["same"]
    return 2 * number

def mark(kind, number):
    time.sleep(0.1)
    (FOLDER / f"{kind}-{number}").touch()

def answer(result):
    made = make_ids()
    log.info("answered %s", made[0])
    return JsonResponse({"pid": os.getpid(), "result": result, "ids": made,
                         "seat": flakes.parse(made[2]).worker,
                         "first": first, "imported_in": IMPORTED_IN})

def ready(request):
    return answer(None)

def pooled(request, number):
    return answer(pool.run(double, number))

def later(request, number):
    return answer(service.after(0.01, double, number).result(10))

def change(request):
    with lock.write():
        config["changes"] += 1
        time.sleep(0.001)
        config["same"] += 1
        return answer(config["changes"])

def accept(request, number):
    pool.submit(mark, "pool", number)
    service.submit(mark, "service", number)
    return answer(service.after(3600, mark, "never", number).cancelled())

def slow(request):
    (FOLDER / "slow").touch()
    time.sleep(0.3)
    return answer(pool.run(double, 21))

def at_the_end():
    (FOLDER / f"end-{os.getpid()}").write_text(json.dumps({
        "threads": [thread.name for thread in threading.enumerate()],
        "states": [str(pool.stats().running), str(service.stats().running)],
        "ticks": ticks.count(os.getpid()),
        "queued": pool.stats().queued + service.stats().queued}))

atexit.register(at_the_end)  # a forked worker has it, too

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], LOGGING_CONFIG=None)
urlpatterns = [
    path("ready", ready), path("pooled/<int:number>", pooled),
    path("later/<int:number>", later), path("change", change),
    path("accept/<int:number>", accept), path("slow", slow)]
application = get_wsgi_application()
"""

GUNICORN = """
import warnings
# Python says so since 3.12; that it works all the same is what is tested.
warnings.filterwarnings("ignore", "This process .* is multi-threaded")
from gunicorn.app.wsgiapp import run
run()
"""

OPTIONS = ["--worker-class=gthread", "--workers=2", "--threads=4"]


def paths():
    for number in range(300):
        kind = ("change", "later", "pooled")[min(number % 10, 2)]
        yield "/change" if kind == "change" else f"/{kind}/{number}"


def keep_asking(port, program, answers):
    """Ask in turns until both workers have answered: the kernel chooses who does."""
    asked = [*paths()]
    answers.extend(zip(asked, map(json.loads, load(port, asked, 16)), strict=True))

    def both():
        ready = ["/ready"] * 16
        answers.extend(zip(ready, map(json.loads, load(port, ready, 16)), strict=True))
        return {answer["pid"] for _, answer in answers}

    return wait_for(lambda: found if len(found := both()) == 2 else None, program)


def check_answers(answers):
    changes = defaultdict(list)
    for path, answer in answers:
        if path == "/change":
            changes[answer["pid"]].append(answer["result"])
        elif path != "/ready":
            assert answer["result"] == 2 * int(path.split("/")[2])
    for seen in changes.values():  # each process has a lock and numbers of its own
        assert sorted(seen) == [*range(1, len(seen) + 1)]
    seats = {(answer["pid"], answer["seat"]) for _, answer in answers}
    assert len(seats) == len({seat for _, seat in seats}) == 2
    made = [each for _, answer in answers for each in answer["ids"]]
    first = {each for _, answer in answers for each in answer["first"]}
    assert len({*made} | first) == len(made) + len(first)


def check_ends(folder, ticking, workers):
    """Check what each process wrote when it ended: it was at peace then."""
    ends = {
        int(path.name.split("-")[1]): json.loads(path.read_text())
        for path in folder.glob("end-*")
    }
    assert {*ends} >= workers
    for pid, end in ends.items():
        assert end["threads"] == ["MainThread"]
        assert (end["states"], end["queued"]) == (["0", "0"], 0)
        assert bool(end["ticks"]) == (pid in ticking)
    assert {*ends} >= ticking


@needs("django")
@needs("gunicorn")
@pytest.mark.parametrize("preload", [True, False], ids=["preload", "each"])
def test_a_django_site_under_gunicorn(preload, tmp_path, monkeypatch):
    (tmp_path / "site_of_ours.py").write_text(SITE)
    monkeypatch.setenv("SITE_FOLDER", str(tmp_path))
    port, answers = free_port(), []
    options = [*OPTIONS, f"--bind=127.0.0.1:{port}", "--log-level=warning"]
    options += ["--preload"] * preload
    with running(GUNICORN, *options, "site_of_ours", folder=tmp_path) as program:
        master = program.process.pid
        wait_for_server(port, program)
        workers = keep_asking(port, program, answers)
        accepted = [f"/accept/{number}" for number in range(32)]
        with ThreadPoolExecutor(1) as client:
            slow = client.submit(ask, port, "/slow")
            wait_for((tmp_path / "slow").exists, program)
            last = [json.loads(answer) for answer in load(port, accepted)]
            status, _ = program.terminate()
            last.append(json.loads(slow.result()))
        told, left = program.told(), left_over(workers)
    assert (status, told, left) == (0, "", [])
    check_answers(answers)
    assert [one["result"] for one in last] == [False] * 32 + [42]
    for number in range(32):
        assert (tmp_path / f"pool-{number}").exists()
        assert (tmp_path / f"service-{number}").exists()
    assert not [*tmp_path.glob("never-*")]

    # A forked worker has the same services with nothing in them: no series of another.
    importers = {answer["imported_in"] for _, answer in answers}
    assert importers == ({master} if preload else workers)
    check_ends(tmp_path, importers, workers)
    check_log(tmp_path / "site.log", [answer for _, answer in answers] + last)


def check_log(file: Path, answers):
    """Check that several processes wrote one log, whole lines, and all of them."""
    lines = [log.parse(line) for line in file.read_text().splitlines()]
    assert None not in lines
    said = [line for line in lines if line["msg"].startswith("answered")]
    wrote = {(int(line["pid"]), line["msg"].split()[1]) for line in said}
    assert {(one["pid"], one["ids"][0]) for one in answers} <= wrote
    # Whose time had not come is cancelled, and that is said.
    assert any("jobs whose time has not come" in line["msg"] for line in lines)
