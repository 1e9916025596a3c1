"""A program that runs its jobs on a Dask cluster, until it is sent a SIGTERM."""

import json
import sys
from collections import Counter

import pytest
from surroundings_tools import left_over, needs, running, wait_for

from cup import log

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(sys.platform == "win32", reason="has no SIGTERM"),
]

JOBS = """
import os, time
from pathlib import Path
from cup import log
from cup.services.generator import CGeneratorMan, UUID7Generator

FOLDER = Path(os.environ["JOBS_FOLDER"])
ids = UUID7Generator()
log.init_comlog("jobs", log.INFO, FOLDER / "jobs.log")  # in each process of the cluster

def work(kind, number, seconds=0.0):
    made = [str(ids.next_id()), CGeneratorMan("job").get_uniqname()]
    log.info("%s %d %s", kind, number, made[0])
    time.sleep(seconds)
    (FOLDER / f"{kind}-{number}").touch()
    return {"pid": os.getpid(), "result": number * number, "ids": made}
"""

PROGRAM = """
import json, multiprocessing, os, signal, threading
from distributed import Client, LocalCluster
from cup.services.executor import ExecutionService
import jobs_of_ours as jobs

def main():
    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    before = threading.active_count()
    with (
        LocalCluster(n_workers=2, threads_per_worker=2, processes=True,
                     dashboard_address=None) as cluster,
        Client(cluster) as client,
        ExecutionService(backend=client.get_executor, name="remote") as service,
    ):
        series = service.every(0.05, jobs.work, "tick", 0)
        handles = [service.submit(jobs.work, "soon", n) for n in range(100)]
        handles += [service.after(0.002 * n, jobs.work, "later", n) for n in range(100)]
        answers = [handle.result(30) for handle in handles]
        nannies = [nanny.pid for nanny in cluster.workers.values()]
        never = service.after(3600, jobs.work, "never", 0)
        running = [service.submit(jobs.work, "last", n, 0.3) for n in range(8)]
        print(json.dumps({"answers": answers, "nannies": nannies}))
        asked.wait()
        report = service.stop()
        last = [handle.result(0) for handle in running]
    print(json.dumps({
        "ended": bool(report), "submitted": report.submitted, "done": report.done,
        "failed": report.failed, "cancelled": report.cancelled, "runs": series.runs,
        "never": never.cancelled(), "series": series.cancelled(), "last": last,
        "threads": [t.name for t in threading.enumerate() if "remote" in t.name],
        "children": len(multiprocessing.active_children())}))

main()
"""


@needs("distributed")
@pytest.mark.timeout(120)
def test_a_program_on_a_dask_cluster(tmp_path, monkeypatch):
    (tmp_path / "jobs_of_ours.py").write_text(JOBS)
    monkeypatch.setenv("JOBS_FOLDER", str(tmp_path))
    with running(PROGRAM, folder=tmp_path) as program:
        start = program.line()
        assert start, program.told()
        answers, workers = (json.loads(start)[key] for key in ("answers", "nannies"))
        wait_for(lambda: "last 3" in (tmp_path / "jobs.log").read_text(), program)
        status, out = program.terminate()
        told, left = program.told(), left_over(workers)
    assert (status, left) == (0, [])
    assert "Traceback" not in told
    assert [one["result"] for one in answers] == [n * n for n in range(100)] * 2
    assert {one["pid"] for one in answers} == {*workers}

    end = json.loads(out.splitlines()[-1])
    answers += end["last"]  # of them four ran, and four were waiting
    assert [one["result"] for one in end["last"]] == [n * n for n in range(8)]
    made = [each for one in answers for each in one["ids"]]
    assert len({*made}) == len(made)
    assert (end["ended"], end["never"], end["series"]) == (True, True, True)
    assert (end["threads"], end["children"], end["failed"]) == ([], 0, 0)
    assert end["runs"] > 1
    assert end["done"] == 208 + end["runs"]
    assert end["submitted"] == end["done"] + end["cancelled"]
    assert not (tmp_path / "never-0").exists()

    # The processes wrote one log: whole lines, and each job once.
    lines = [log.parse(x) for x in (tmp_path / "jobs.log").read_text().splitlines()]
    assert None not in lines
    wrote = Counter(line["msg"].rpartition(" ")[0] for line in lines)
    assert wrote["tick 0"] == end["runs"]
    kinds = [("soon", 100), ("later", 100), ("last", 8)]
    assert all(wrote[f"{kind} {n}"] == 1 for kind, most in kinds for n in range(most))
