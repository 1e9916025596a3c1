"""Jobs that outlive their process: keys, schema, what is unknown, accounting."""

import json
import threading
import time
from datetime import timedelta, timezone

import anyio
import pytest
import stored_jobs
from executor_tools import Virtual, balanced, in_child, needs_fork, wait_for

from cup.errors import ExecutorClosed, InvalidType, InvalidValue, UnknownJob
from cup.services.executor import (
    Aligned,
    CatchUp,
    Cron,
    DstPolicy,
    ExecutionService,
    FixedDelay,
    FixedRate,
    Jitter,
    JobStore,
    MemoryStore,
    Series,
)
from cup.services.executor._core_handle import ScheduledJob
from cup.services.executor._core_ledger import Ledger
from cup.services.executor._core_stored import (
    function_at,
    make_entry,
    path_of,
    read_entry,
)
from cup.services.executor.api_values import JobOptions

HOUR = 3600.0


@pytest.fixture(autouse=True)
def ran():
    stored_jobs.RAN.clear()
    stored_jobs.DURING.clear()
    return stored_jobs.RAN


@pytest.fixture
def store():
    return MemoryStore()


def running(store, **options):
    executor = ExecutionService(store=store, **options)
    executor.start()
    return executor


# -- entries ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rhythm",
    [
        None,
        5.0,
        FixedRate(5, first=1),
        FixedDelay(5),
        Aligned(60, 5),
        Cron("30 2 * * MON", "Europe/Berlin", dst=DstPolicy.SKIP),
        Cron("H * * * *", name="spread"),
    ],
)
def test_entries_come_back_as_they_were(rhythm):
    options = JobOptions(
        key="k", catch_up=CatchUp.all(3, 60), jitter=Jitter(2, stable=True), overlap=2
    )
    entry = make_entry(
        stored_jobs.note,
        (1, "zwei", [3]),
        {"vier": None},
        due=1e9,
        rhythm=rhythm,
        options=options,
    )
    again = read_entry(entry.text(), "k")
    assert again == entry
    assert again.options == options
    assert function_at(again.function) is stored_jobs.note
    if isinstance(rhythm, float):
        rhythm = FixedRate(rhythm)
    assert again.plan() == rhythm


def test_only_importable_functions_have_a_path():
    assert path_of(stored_jobs.note) == "stored_jobs:note"
    assert path_of(stored_jobs.Holder.static) == "stored_jobs:Holder.static"
    for fn in (lambda: None, Virtual().advance):
        with pytest.raises(InvalidType, match="cannot be stored"):
            path_of(fn)


@pytest.mark.parametrize("value", [object(), (1, 2), {1: 2}, float("nan"), b"x"])
def test_only_json_is_taken(store, value):
    executor = running(store)
    with pytest.raises(InvalidType, match="JSON"):
        executor.options(key="k").after(1, stored_jobs.note, value)
    assert store.jobs == {}
    executor.stop()


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "{}",
        "[]",
        '{"schema": 99}',
        '{"schema": 1, "key": "k"}',
        "[" * 100_000,
    ],
)
def test_what_means_nothing_is_unknown(text):
    with pytest.raises(UnknownJob):
        read_entry(text, "k")


RATE = {"kind": "rate", "period": 60, "first": None}


@pytest.mark.parametrize(
    "wrong",
    [
        {"key": "other"},
        {"function": []},
        {"args": 5},
        {"args": "abc"},
        {"kwargs": [1]},
        {"due": "soon"},
        {"due": None},
        {"due": float("nan")},
        {"rhythm": {**RATE, "period": "long"}},
        {"rhythm": {**RATE, "period": -1}},
        {"rhythm": RATE, "last": "before"},
        {"rhythm": RATE, "runs": "some"},
        {"rhythm": RATE, "options": {"max_runs": "some"}},
        {"rhythm": RATE, "options": {"overlap": "perhaps"}},
        {"rhythm": RATE, "options": {"history": -1}},
        {"options": {"queue_timeout": "long"}},
    ],
)
def test_one_job_that_means_nothing_keeps_no_other_from_running(store, ran, wrong):
    good = {
        "schema": 1,
        "key": "good",
        "function": "stored_jobs:note",
        "args": [1],
        "kwargs": {},
        "due": 0.0,
    }
    text = json.dumps({**good, "key": "bad", **wrong})
    store.jobs.update(bad=text, good=json.dumps(good))
    executor = running(store)
    wait_for(lambda: ran)
    report = executor.stop()
    assert report.unknown == ("bad",)
    assert store.jobs == {"bad": text}


@pytest.mark.parametrize(
    "path",
    [
        "no.such:thing",
        "stored_jobs:gone",
        "stored_jobs:RAN",
        "stored_jobs:coroutine",
        "stored_jobs_exit:note",
    ],
)
def test_functions_that_are_gone_are_unknown(path):
    with pytest.raises(UnknownJob, match=path):
        function_at(path)


# -- life ------------------------------------------------------------------------------


def test_job_is_stored_before_the_call_returns(store):
    executor = running(store)
    executor.options(key="k").after(HOUR, stored_jobs.note, 1)
    assert [*store.jobs] == ["k"]
    report = executor.stop()
    assert (report.persisted, report.cancelled) == (1, 0)
    assert balanced(report)
    assert [*store.jobs] == ["k"]


def test_job_that_ran_is_removed(store, ran):
    executor = running(store)
    assert executor.options(key="k").after(0.01, stored_jobs.note, 1).result(10) == 1
    executor.stop()
    assert store.jobs == {}
    assert len(ran) == 1


def test_cancelled_job_is_removed(store):
    executor = running(store)
    executor.options(key="k").after(HOUR, stored_jobs.note).cancel()
    wait_for(lambda: store.jobs == {})
    executor.stop()


def test_job_goes_on_in_the_next_process(store, ran):
    first = running(store)
    first.options(key="k", urgency=0).after(0.2, stored_jobs.note, 1, two=2)
    first.stop()
    assert ran == []
    second = running(store)
    job = second.find("k")
    assert job.result(10) == 1
    assert ran == [((1,), {"two": 2})]
    second.stop()
    assert store.jobs == {}


def test_job_that_was_due_meanwhile_runs_at_once(store, ran):
    first = running(store)
    first.options(key="k").at(time.time() + 0.05, stored_jobs.note)
    first.stop()
    time.sleep(0.1)
    second = running(store)
    wait_for(lambda: len(ran) == 1)
    second.stop()


@pytest.mark.parametrize(
    ("rhythm", "ten_later"), [(60.0, 2), (FixedDelay(60), 2), (Aligned(60), 3)]
)
def test_series_goes_on(store, rhythm, ten_later):
    first = Virtual(store=store)
    first.service.options(key="k").every(rhythm, stored_jobs.note)
    first.advance(150)
    assert len(stored_jobs.RAN) == 2
    report = first.service.stop()
    assert (report.persisted, report.done) == (1, 2)

    second = Virtual(store=store, start=False)
    second.clock.advance(160)  # ten seconds later
    second.service.start()
    assert isinstance(second.service.find("k"), Series)
    second.advance(10)
    assert len(stored_jobs.RAN) == ten_later
    second.advance(15)
    assert len(stored_jobs.RAN) == 3  # in its rhythm
    second.advance(60)
    assert len(stored_jobs.RAN) == 4


def test_cron_that_was_missed_runs_once(store):
    first = Virtual(store=store)
    first.service.options(key="k").cron("0 * * * *", stored_jobs.note)
    first.advance(2 * HOUR)
    before = len(stored_jobs.RAN)
    assert before == 2
    first.service.stop()

    second = Virtual(store=store, start=False)
    second.clock.advance(10 * HOUR)
    second.service.start()
    second.advance(1)
    assert len(stored_jobs.RAN) == before + 1
    assert second.service.find("k").missed == 7


def test_delay_counts_from_the_end_of_the_last_run(store):
    clock = first = Virtual(store=store)
    stored_jobs.DURING.append(lambda: clock.driver.clock.advance(40))
    first.service.options(key="k").every(FixedDelay(60), stored_jobs.note_during)
    first.advance(60)
    assert len(stored_jobs.RAN) == 1
    first.service.stop()

    second = Virtual(store=store, start=False)
    second.clock.advance(110)  # 10 seconds after the end
    second.service.start()
    second.advance(45)
    assert len(stored_jobs.RAN) == 1
    second.advance(10)
    assert len(stored_jobs.RAN) == 2


def test_last_run_is_the_latest_one_however_they_end(store):
    executor = running(store)
    gate = threading.Event()
    stored_jobs.DURING.append(gate.wait)
    view = executor.options(key="k", overlap=2)
    series = view.every(FixedRate(0.02, first=0), stored_jobs.note_during)
    wait_for(lambda: series.runs > 2 and len(series.history) > 1)
    series.pause()
    wait_for(lambda: len(series.history) == series.runs - 1)
    latest = max(run.due for run in series.history)
    gate.set()
    wait_for(lambda: len(series.history) == series.runs)
    executor.stop()
    assert json.loads(store.jobs["k"])["last"] == latest


def test_runs_are_limited_over_all_processes(store, ran):
    first = Virtual(store=store)
    first.service.options(key="k", max_runs=3).every(60, stored_jobs.note)
    first.advance(150)
    first.service.stop()
    assert len(ran) == 2

    second = Virtual(store=store, start=False)
    second.clock.advance(150)
    second.service.start()
    second.advance(HOUR)
    assert len(ran) == 3
    second.service.stop()
    assert store.jobs == {}


@pytest.mark.parametrize("again", [False, True])
def test_job_that_was_moved_stays_there(store, ran, again):
    first = Virtual(store=store)
    job = first.service.options(key="k").after(HOUR, stored_jobs.note)
    if again:
        first.service.stop()
        first = Virtual(store=store)
        job = first.service.find("k")
    assert job.reschedule(60)
    first.service.stop()
    assert "k" in store.jobs

    second = Virtual(store=store)
    second.advance(59)
    assert ran == []
    second.advance(1)
    assert len(ran) == 1
    second.service.stop()
    assert store.jobs == {}


def test_calendars_of_zones_without_a_name_are_refused(store):
    executor = running(store)
    shifted = Cron("0 3 * * *", timezone(timedelta(hours=2)))
    with pytest.raises(InvalidType, match="cannot be stored"):
        executor.options(key="k").cron(shifted, stored_jobs.note)
    assert store.jobs == {}
    executor.stop()


def test_same_key_replaces(store):
    executor = running(store)
    view = executor.options(key="k")
    first = view.after(HOUR, stored_jobs.note, 1)
    second = view.after(HOUR, stored_jobs.note, 2)
    assert first.cancelled()
    assert executor.find("k") is second
    assert json.loads(store.jobs["k"])["args"] == [2]
    report = executor.stop()
    assert (report.cancelled, report.persisted) == (1, 1)
    assert json.loads(store.jobs["k"])["args"] == [2]


def test_unknown_jobs_are_kept_and_reported(store, caplog):
    # APScheduler deletes them.
    store.jobs["gone"] = json.dumps({"schema": 99})
    executor = running(store)
    executor.options(key="moved").after(HOUR, stored_jobs.note)
    executor.stop()
    text = store.jobs["moved"].replace("stored_jobs:note", "stored_jobs:not_any_more")
    store.jobs["moved"] = text

    executor = running(store)
    assert {*executor.unknown_jobs()} == {"gone", "moved"}
    assert "not_any_more" in executor.unknown_jobs()["moved"]
    assert executor.stats().unknown == 2
    assert "later version" in caplog.text
    report = executor.stop()
    assert {*report.unknown} == {"gone", "moved"}
    assert store.jobs["moved"] == text
    assert "gone" in store.jobs


def test_unknown_job_can_be_forgotten(store):
    store.jobs["gone"] = "?"
    executor = running(store)
    assert executor.forget("gone")
    assert not executor.forget("never there")
    executor.options(key="k").after(HOUR, stored_jobs.note)
    assert executor.forget("k")
    executor.stop()
    assert store.jobs == {}


def test_ends_are_written_in_groups(store):
    executor = running(store)
    jobs = [
        executor.options(key=str(n)).after(0.05, stored_jobs.note) for n in range(200)
    ]
    for job in jobs:
        job.result(10)
    executor.stop()
    assert store.jobs == {}
    assert store.writes < 200 + 150


def test_store_that_fails_refuses_the_job(store):
    executor = running(store)

    def broken(saved, removed):
        raise OSError("disk full")

    store.write = broken
    with pytest.raises(OSError, match="disk full"):
        executor.options(key="k").after(HOUR, stored_jobs.note)
    assert executor.stats().submitted == 0
    executor.stop()


def test_store_that_fails_later_is_tried_again(store, caplog):
    executor = running(store)
    job = executor.options(key="k").after(0.01, stored_jobs.note)
    real, failures = store.write, []

    def broken(saved, removed):
        failures.append(1)
        if len(failures) < 2:
            raise OSError("disk full")
        real(saved, removed)

    store.write = broken
    job.result(10)
    wait_for(lambda: store.jobs == {})
    executor.stop()
    assert "disk full" in caplog.text


def test_threads_cannot_store_coroutines(store):
    executor = running(store)
    with pytest.raises(InvalidType, match="cannot be stored"):
        executor.options(key="k").after(1, stored_jobs.coroutine)
    assert store.jobs == {}
    executor.stop()


def test_key_needs_a_store():
    with pytest.raises(InvalidValue, match="store"):
        ExecutionService().options(key="k")


def test_coroutines_cannot_be_stored(store):
    async def main():
        async with ExecutionService(store=store).aio as executor:
            view = executor.options(key="k")
            with pytest.raises(InvalidType, match="cannot be stored"):
                await view.after(1, anyio.sleep, 1)
            job = await view.after(0.5, stored_jobs.note, 5)
            assert [*store.jobs] == ["k"]
            assert await job == 1
            await (
                await executor.options(key="s", max_runs=1).every(
                    0.01, stored_jobs.note
                )
            )
            await (
                await executor.options(key="c", max_runs=1).cron(
                    "* * * * * *", stored_jobs.note
                )
            )

    anyio.run(main)
    assert store.jobs == {}


def test_store_knows_what_ended_when_a_block_is_left_by_an_exception(store):
    async def main():
        with pytest.raises(KeyError):
            async with ExecutionService(store=store).aio as executor:
                view = executor.options(key="k")
                assert await (await view.after(0.01, stored_jobs.note, 5)) == 1
                raise KeyError

    for _ in range(10):
        stored_jobs.RAN.clear()
        anyio.run(main)
        assert store.jobs == {}


def test_store_knows_all_that_had_ended_when_the_executor_stops(store, monkeypatch):
    """Who waits for a job is woken before its callbacks are called."""
    late = []
    for kind in (ScheduledJob, Series):
        monkeypatch.setattr(
            kind, "add_done_callback", lambda self, fn: late.append((self, fn))
        )
    executor = running(store)
    job = executor.options(key="k").after(0.01, stored_jobs.note, 5)
    series = executor.options(key="s", max_runs=1).every(0.01, stored_jobs.note, 5)
    job.result(10)
    series.result(10)
    executor.stop()
    assert store.jobs == {}
    assert len(late) == 2
    for handle, call in late:
        call(handle)
    assert store.jobs == {}


class RefusesLate(MemoryStore):
    """Its executor is stopped while a job is being stored."""

    executor = None

    def write(self, saved, removed):
        super().write(saved, removed)
        if saved and self.executor is not None:
            executor, self.executor = self.executor, None
            executor.core.begin_stop()


HAND_IN = [
    lambda view: view.submit(stored_jobs.note),
    lambda view: view.after(1, stored_jobs.note),
    lambda view: view.at(time.time() + 1, stored_jobs.note),
    lambda view: view.every(1, stored_jobs.note),
    lambda view: view.cron("* * * * *", stored_jobs.note),
]


@pytest.mark.parametrize("hand_in", HAND_IN)
def test_job_that_is_refused_is_not_stored(hand_in):
    store = RefusesLate()
    executor = running(store)
    store.executor = executor
    with pytest.raises(ExecutorClosed):
        hand_in(executor.options(key="k"))
    assert store.jobs == {}
    executor.stop()
    assert store.jobs == {}


@pytest.mark.parametrize("hand_in", HAND_IN)
async def test_job_that_is_refused_to_a_task_is_not_stored(hand_in):
    store = RefusesLate()
    async with ExecutionService(store=store).aio as executor:
        store.executor = executor
        with pytest.raises(ExecutorClosed):
            await hand_in(executor.options(key="k"))
        assert store.jobs == {}
    assert store.jobs == {}


def test_job_that_is_refused_leaves_the_one_before_it_stored():
    store = RefusesLate()
    executor = running(store)
    view = executor.options(key="k")
    view.after(HOUR, stored_jobs.note, 1)
    store.executor = executor
    with pytest.raises(ExecutorClosed):
        view.after(HOUR, stored_jobs.note, 2)
    executor.stop()
    assert read_entry(store.jobs["k"], "k").args == [1]


async def test_job_whose_storing_is_cancelled_is_not_stored():
    class Slow(MemoryStore):
        def write(self, saved, removed):
            super().write(saved, removed)
            if saved:
                writing.append(scope)
                time.sleep(0.05)

    writing = []
    store = Slow()
    async with ExecutionService(store=store).aio as executor:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:

                async def hand_in():
                    await executor.options(key="k").after(HOUR, stored_jobs.note)

                tasks.start_soon(hand_in)
                while not writing:
                    await anyio.sleep(0.001)
                scope.cancel()
        assert scope.cancelled_caught
        assert store.jobs == {}
    assert store.jobs == {}


async def test_storing_for_tasks_is_no_job(store):
    async with ExecutionService(store=store).aio as executor:
        await executor.options(key="k").after(HOUR, stored_jobs.note)
        report = await executor.stop()
    assert (report.done, report.persisted) == (0, 1)
    assert balanced(report)


async def test_tasks_store_jobs_while_all_workers_are_busy(store):
    gate = threading.Event()
    async with ExecutionService(1, 1, store=store).aio as executor:
        await executor.submit(gate.wait)
        try:
            with anyio.fail_after(10):
                await executor.options(key="k").after(HOUR, stored_jobs.note)
        finally:
            gate.set()
        assert [*store.jobs] == ["k"]


@pytest.mark.parametrize("again", [False, True])
def test_last_of_a_key_stays_however_slow_the_store_is(again):
    class Slow(MemoryStore):
        def write(self, saved, removed):
            if saved and json.loads(saved[0][1])["args"] == [1] and not gate.is_set():
                begun.set()
                gate.wait(10)
            super().write(saved, removed)

    store, gate, begun = Slow(), threading.Event(), threading.Event()
    ledger = Ledger(store)
    options = JobOptions(key="k")
    first, second = (
        make_entry(
            stored_jobs.note, (number,), {}, due=0.0, rhythm=None, options=options
        )
        for number in (1, 2)
    )
    thread = threading.Thread(target=ledger.save, args=(first,))
    thread.start()
    assert begun.wait(10)
    if again:
        ledger.save(second)
    else:
        ledger.refuse(first)
    gate.set()
    thread.join()
    ledger.close()
    assert store.jobs == ({"k": second.text()} if again else {})


@needs_fork
def test_forked_child_leaves_the_store_alone(store):
    executor = running(store)
    executor.options(key="k").after(HOUR, stored_jobs.note)

    def child():
        assert executor.stats().submitted == 0
        with pytest.raises(InvalidValue):
            executor.options(key="other")
        executor.stop()
        assert [*store.jobs] == ["k"]

    in_child(child)
    executor.stop()


@needs_fork
def test_forked_child_removes_no_job_of_its_parent(store):
    executor = running(store)
    job = executor.options(key="k").after(HOUR, stored_jobs.note)
    ledger = executor.core.ledger

    def child():
        assert job.cancel()
        ledger.end_at_exit()
        assert [*store.jobs] == ["k"]

    in_child(child)
    executor.stop()


def test_store_is_a_protocol(store):
    known: JobStore = store
    assert [*known.load()] == []
    assert repr(store) == "<MemoryStore of 0 jobs>"
