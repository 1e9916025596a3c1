"""The names and examples of the older library, and what it had wrong."""

import datetime as dt
import threading
import time
import zoneinfo

import pytest
from executor_tools import Gate, balanced, service, wait_for

from cup import log, unittest
from cup.errors import ExecutorClosed, InvalidType, InvalidValue
from cup.services import executor
from cup.services.executor import (
    URGENCY_HIGH,
    URGENCY_LOW,
    URGENCY_NORMAL,
    CronExecution,
    CronTask,
    ExecutionService,
)
from cup.services.executor._core_seed_cron import ListedTimes

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
SHANGHAI = zoneinfo.ZoneInfo("Asia/Shanghai")
UTC = dt.timezone.utc


# -- the example, as it is written -----------------------------------------------------


class TestMyCase(unittest.CUTCase):
    """
    test class for cup
    """

    __test__ = False  # pytest runs it below

    def __init__(self):
        super(self.__class__, self).__init__("./test.log", log.DEBUG)
        log.info("Start to run " + str(__file__))
        self._executor = executor.ExecutionService()

    def setup(self):
        """
        setup
        """
        self._executor.run()
        self._info = time.time()

    def _change_data(self, data=None):
        self._info = time.time() + 100

    def test_run(self):
        """
        @author: maguannan
        """
        self._executor.delay_exec(0.5, self._change_data, 1)  # 5 s in the document
        time.sleep(0.2)
        assert time.time() > self._info
        time.sleep(0.5)
        assert time.time() < self._info

    def teardown(self):
        """
        teardown
        """
        log.info("End running " + str(__file__))
        self._executor.stop()


@pytest.mark.usefixtures("clean_log")
def test_example_of_the_document(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    unittest.CCaseExecutor().runcase(TestMyCase())
    assert "Passed" in capsys.readouterr().out


# -- ExecutionService ------------------------------------------------------------------


def test_constants():
    assert (URGENCY_HIGH, URGENCY_NORMAL, URGENCY_LOW) == (0, 1, 2)
    assert isinstance(URGENCY_HIGH, int)


def test_constructor_takes_the_old_positions():
    made = ExecutionService(2, 5, "old")
    assert made.name == "old"
    assert [pool.core.maximum for pool in made.core.pools()] == [2, 5]


def test_equal_urgency_never_compares_functions():
    # The old queue compared functions, then arguments: TypeError, and dead workers.
    with service() as made:
        ran = []
        functions = [lambda n=n: ran.append(n) for n in range(10)]
        for function in functions:
            made.queue_exec(function, URGENCY_NORMAL)
        wait_for(lambda: len(ran) == 10)
        for value in ({"a": 1}, object(), 1j):
            made.queue_exec(ran.append, 1, value)
        wait_for(lambda: len(ran) == 13)


def test_jobs_of_one_urgency_are_first_in_first_out():
    # The old queue sorted by arguments: 5, 3, 9, 1 came as 1, 3, 5, 9.
    with service(1, 1) as made:
        gate, ran = Gate(), []
        made.queue_exec(gate, URGENCY_HIGH)
        gate.await_inside()
        for value in (5, 3, 9, 1):
            made.queue_exec(ran.append, URGENCY_NORMAL, value)
        gate.open()
        wait_for(lambda: len(ran) == 4)
        assert ran == [5, 3, 9, 1]


def test_urgent_jobs_go_first():
    with service(1, 1) as made:
        gate, ran = Gate(), []
        made.queue_exec(gate, URGENCY_HIGH)
        gate.await_inside()
        for urgency in (URGENCY_LOW, URGENCY_NORMAL, URGENCY_HIGH):
            made.queue_exec(ran.append, urgency, urgency)
        gate.open()
        wait_for(lambda: len(ran) == 3)
        assert ran == [URGENCY_HIGH, URGENCY_NORMAL, URGENCY_LOW]


def test_delayed_jobs_have_urgency_too():
    with service(1, 1) as made:
        gate, ran = Gate(), []
        made.delay_exec(0, gate, 0)
        gate.await_inside()
        for urgency in (2, 1, 0):
            made.delay_exec(0.01, ran.append, urgency, urgency)
        wait_for(lambda: made.stats().queued == 3)
        gate.open()
        wait_for(lambda: len(ran) == 3)
        assert ran == [0, 1, 2]


def test_delayed_jobs_take_no_thread_each():
    before = threading.active_count()
    with service() as made:
        for _ in range(2000):
            made.delay_exec(3600, print, 1)
        assert threading.active_count() <= before + 2


def test_delay_exec_gives_a_handle():
    with service() as made:
        job = made.delay_exec(3600, print, 1)
        assert job.cancel()
        assert made.delay_exec(0.01, pow, 1, 2, 3).result(10) == 8


def test_stop_runs_what_is_queued():
    # The old one dropped all of it.
    made = ExecutionService(1, 1)
    made.run()
    gate, ran = Gate(), []
    made.queue_exec(gate, 1)
    gate.await_inside()
    for n in range(50):
        made.queue_exec(ran.append, 1, n)
    threading.Timer(0.05, gate.open).start()
    report = made.stop(True)
    assert ran == [*range(50)]
    assert report
    assert balanced(report)
    assert report.done == 51


def test_jobs_wait_for_run():
    made = ExecutionService()
    ran = []
    made.queue_exec(ran.append, 1, "queued")
    made.delay_exec(0.0, ran.append, 1, "due")
    job = made.delay_exec(3600, ran.append, 1)
    time.sleep(0.05)
    assert ran == []
    assert not made.running()
    made.run()
    assert made.running()
    wait_for(lambda: sorted(ran) == ["due", "queued"])
    made.stop()
    assert job.cancelled()
    assert not made.running()


def test_stop_before_run_accounts_for_all():
    made = ExecutionService()
    ran = []
    made.queue_exec(ran.append, 1, "queued")
    made.delay_exec(3600, ran.append, 1)
    report = made.stop()
    assert ran == ["queued"]
    assert balanced(report)
    assert (report.done, report.cancelled) == (1, 1)


def test_singleton():
    first = ExecutionService.singleton_instance(1, 2, "the only one")
    assert ExecutionService.singleton_instance(1, 2, "the only one") is first
    assert ExecutionService.singleton_instance(1, 2, "another") is not first


def test_bad_arguments_are_refused():
    with service() as made:
        with pytest.raises(InvalidValue):
            made.queue_exec(print, 3)
        with pytest.raises(InvalidValue):
            made.delay_exec(1, print, -1)
        with pytest.raises(InvalidType):
            made.queue_exec("print", 1)
        with pytest.raises(InvalidType):
            made.delay_exec(1, None, 1)
        with pytest.raises(InvalidType):
            made.delay_exec(None, print, 1)
        with pytest.raises(InvalidValue):
            made.delay_exec(float("nan"), print, 1)
        with pytest.raises(InvalidValue):
            made.delay_exec(float("inf"), print, 1)
    with pytest.raises(InvalidValue):
        ExecutionService(0)
    with pytest.raises(InvalidType, match="store"):
        ExecutionService(store=5)
    with pytest.raises(InvalidType, match="name"):
        ExecutionService(name=5)
    with pytest.raises(ExecutorClosed):
        made.queue_exec(print, 1)


# -- CronTask --------------------------------------------------------------------------


def task(timer, zone=UTC, function=print, *args, **kwargs):
    return CronTask("a task", zone, timer, "its id", function, *args, **kwargs)


def at(*when, zone=UTC):
    return dt.datetime(*when, tzinfo=zone)


def test_task_tells_what_it_was_made_of():
    timer = {"minute": [1, 2], "hour": None}
    made = task(timer, SHANGHAI, pow, 2, 3)
    assert (made.name(), made.taskid()) == ("a task", "its id")
    assert made.pytz_timezone() is SHANGHAI
    assert made.get_timer() == timer
    assert made.get_funcargs() == (pow, (2, 3), {})
    assert made.last_schedtime() is None
    made.set_last_schedtime(at(2026, 1, 1))
    assert made.get_last_schedtime() == made.last_schedtime() == at(2026, 1, 1)


def test_next_time_is_that_of_the_zone():
    # The old one took the host's time for the zone's, eight hours off.
    found = task({"minute": [0], "hour": [9]}, SHANGHAI).next_schedtime(
        at(2026, 1, 1, 0, 30)
    )
    assert found == at(2026, 1, 1, 1)
    assert found.utcoffset() == dt.timedelta(hours=8)


def test_minute_is_not_the_hour():
    # From a Thursday, the old one found the Friday after the next.
    found = task({"minute": [10], "hour": [12], "weekday": [5]}).next_schedtime(
        at(2026, 1, 1)
    )
    assert found == at(2026, 1, 2, 12, 10)


def test_short_months_do_not_change_the_rule():
    # In the old one, 29, 30 and 31 were lost for ever after a February.
    made = task({"minute": [0], "hour": [0], "monthday": [15, 29, 30, 31]})
    found, when = [], at(2026, 1, 28)
    for _ in range(8):
        when = made.next_schedtime(when)
        found.append((when.month, when.day))
    assert found == [
        *((1, 29), (1, 30), (1, 31), (2, 15)),
        *((3, 15), (3, 29), (3, 30), (3, 31)),
    ]


def test_day_31_is_found():
    made = task({"minute": [0], "hour": [0], "monthday": [31]})
    assert made.next_schedtime(at(2026, 1, 31)) == at(2026, 3, 31)


def test_times_exist():
    # 02:30 does not exist on that day in Berlin.
    made = task({"minute": [30], "hour": [2]}, BERLIN)
    found = made.next_schedtime(at(2026, 3, 28, 12))
    assert found == at(2026, 3, 29, 3, zone=BERLIN)
    assert found.astimezone(UTC).astimezone(BERLIN) == found


def test_day_and_weekday_must_both_match():
    made = task({"minute": [0], "hour": [0], "monthday": [13], "weekday": [5]})
    found, when = [], at(2026, 1, 1)
    for _ in range(4):
        when = made.next_schedtime(when)
        found.append((when.year, when.month, when.day))
    assert found == [(2026, 2, 13), (2026, 3, 13), (2026, 11, 13), (2027, 8, 13)]


def test_both_days_with_every_minute():
    made = task({"monthday": [13], "weekday": [5]})
    assert made.next_schedtime(at(2026, 1, 1)) == at(2026, 2, 13)
    assert made.next_schedtime(at(2026, 2, 13, 23, 59)) == at(2026, 3, 13)


def test_both_days_backwards():
    times = ListedTimes({"monthday": [13], "weekday": [5]}, "UTC")
    before = times.prev_before(at(2026, 3, 1).timestamp())
    assert before == at(2026, 2, 13, 23, 59).timestamp()


def test_leap_day_on_a_weekday():
    times = ListedTimes(
        {"minute": [0], "hour": [0], "monthday": [29], "month": [2], "weekday": [1]},
        "UTC",
    )
    found = times.next_after(at(2072, 3, 1).timestamp())
    assert found == at(2112, 2, 29).timestamp()


def test_naive_start_is_of_the_zone():
    made = task({"minute": [0], "hour": [9]}, SHANGHAI)
    naive = at(2026, 1, 1, 8, 59).replace(tzinfo=None)
    assert made.next_schedtime(naive) == at(2026, 1, 1, 1)


def test_zone_may_be_a_name_or_of_pytz():
    assert task({"hour": [1]}, "Asia/Shanghai").next_schedtime().utcoffset()
    pytz = pytest.importorskip("pytz")
    made = task({"minute": [0], "hour": [9]}, pytz.timezone("Asia/Shanghai"))
    assert made.next_schedtime(at(2026, 1, 1)) == at(2026, 1, 1, 1)


@pytest.mark.parametrize(
    "timer",
    [
        {"minute": [60]},
        {"hour": [24]},
        {"monthday": [0]},
        {"month": [13]},
        {"weekday": [0]},
        {"weekday": [8]},
        {"minute": []},
        {"day": [1]},
        {"monthday": [31], "month": [2]},
        {"monthday": [30], "month": [2], "weekday": [1]},
    ],
)
def test_bad_times_are_value_errors(timer):
    with pytest.raises(ValueError):
        task(timer)


def test_bad_types_are_type_errors():
    with pytest.raises(TypeError):
        task({"minute": ["1"]})
    with pytest.raises(TypeError):
        task({"minute": [1.0]})
    with pytest.raises(TypeError):
        task({}, UTC, "print")
    with pytest.raises(InvalidType, match="timer_dict"):
        task(None)
    with pytest.raises(InvalidType, match="datetime"):
        task({}).next_schedtime("tomorrow")


@pytest.mark.parametrize("weekday", [5, [5], iter([5])])
def test_both_days_must_match_however_they_are_listed(weekday):
    made = task({"hour": [3], "monthday": [13], "weekday": weekday})
    assert made.next_schedtime(at(2026, 1, 1)) == at(2026, 2, 13, 3)


def test_unknown_zone_is_a_value_error():
    with pytest.raises(ValueError, match="Nowhere"):
        task({}, "Mars/Nowhere")


# -- CronExecution ---------------------------------------------------------------------


def test_cron_execution_runs_tasks():
    made = CronExecution(2, name="cron")
    made.run()
    try:
        ran = []
        every_minute = task({}, UTC, ran.append, "ran")
        series = made.schedule(every_minute)
        assert made.get_tasks() == [every_minute]
        assert made.get_taskbyid("its id") is every_minute
        series.run_now()
        wait_for(lambda: ran == ["ran"])
        assert every_minute.get_last_schedtime().tzinfo is UTC
        with pytest.raises(ValueError, match="scheduled already"):
            made.schedule(every_minute)
        assert made.calcel_delay_exec("its id")
        assert not made.cancel("its id")
        assert made.get_tasks() == []
        assert made.get_taskbyid("its id") is None
        made.schedule(every_minute)
        assert made.cancel("its id")
        with pytest.raises(TypeError):
            made.schedule("a task")
    finally:
        assert balanced(made.stop())


def test_exception_does_not_end_a_task(caplog):
    # The old one never planned the next run.
    made = CronExecution()
    made.run()
    series = made.schedule(task({}, UTC, lambda: 1 / 0))
    for number in (1, 2):
        series.run_now()
        wait_for(lambda number=number: len(series.history) == number)
    assert series.next_run is not None
    assert series.failures == 2
    made.stop()
    assert "ZeroDivisionError" in caplog.text


def test_interpreter_ends_with_a_cron_execution_that_runs():
    # The timers of the old one kept it alive for ever.
    from executor_tools import run_python

    run = run_python(
        "from cup.services.executor import CronExecution, CronTask\n"
        "made = CronExecution(); made.run()\n"
        "made.schedule(CronTask('t', 'UTC', {'minute': [0]}, 'id', print))\n"
    )
    assert run.stderr == ""
