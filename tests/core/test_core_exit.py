"""The end of the interpreter, in stages. Each test is a process of its own."""

import logging

from core_tools import run_python

from cup._core import lifecycle

BEGIN = """
import threading, time
from cup._core import lifecycle
from cup._core.lifecycle import Stage, at_exit

class Service:
    def __init__(self, name, stage):
        self.name = name
        at_exit(stage, self)

    def end_at_exit(self):
        print(self.name, lifecycle.exiting(), flush=True)
"""


def test_services_end_in_stages():
    answer = run_python(
        BEGIN
        + """
services = [
    Service(stage.name, stage) for stage in (Stage.LOGS, Stage.POOLS, Stage.TIMERS,
                                            Stage.EXECUTORS)
]
print(lifecycle.exiting())
"""
    )
    assert answer.split("\n") == [
        "False",
        "TIMERS True",
        "EXECUTORS True",
        "POOLS True",
        "LOGS True",
        "",
    ]


def test_a_service_that_fails_does_not_keep_others():
    answer = run_python(
        BEGIN
        + """
class Broken(Service):
    def end_at_exit(self):
        raise LookupError("of this service")

services = [Broken("broken", Stage.TIMERS), Service("fine", Stage.LOGS)]
"""
    )
    assert answer == "fine True\n"


def test_a_service_that_is_gone_is_not_ended():
    answer = run_python(BEGIN + "Service('gone', Stage.POOLS)\n")
    assert answer == ""


def test_parked_threads_are_sent_home():
    """The hook runs before the interpreter waits for threads that are no daemons."""
    answer = run_python(
        BEGIN
        + """
gate = threading.Event()

class Parked(Service):
    def end_at_exit(self):
        super().end_at_exit()
        gate.set()

service = Parked("parked", Stage.POOLS)
threading.Thread(target=gate.wait).start()
"""
    )
    assert answer == "parked True\n"


def test_the_timekeeper_ends_with_the_main_thread():
    answer = run_python(
        """
import time
from cup._core import timekeeper
timekeeper.call_at(time.monotonic() + 3600, print)
print("end")
"""
    )
    assert answer == "end\n"


def test_late_threads_do_not_fail_at_a_timekeeper_that_has_ended():
    answer = run_python(
        """
import threading, time
from cup._core import lifecycle, timekeeper

def late():
    while not lifecycle.exiting():
        time.sleep(0.001)
    time.sleep(0.05)
    timekeeper.call_at(time.monotonic(), lambda: print("called"))
    print("no error")

threading.Thread(target=late).start()
"""
    )
    assert answer == "no error\n"


def test_a_process_that_waits_for_ever_can_be_ended():
    answer = run_python(
        """
import os, signal, threading, time
from core_tools import Permits, Want
from cup._core.wait import block

def end():
    while True:
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=end, daemon=True).start()
try:
    block(Want(Permits(0)))
except KeyboardInterrupt:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print("interrupted", flush=True)
"""
    )
    assert answer == "interrupted\n"


def test_a_fork_ends_what_it_has_itself():
    answer = run_python(
        BEGIN
        + """
import os, sys
service = Service("service", Stage.POOLS)
print("parent first", flush=True)
child = os.fork()
if child:
    os.waitpid(child, 0)
"""
    )
    assert answer == "parent first\nservice True\nservice True\n"


def test_without_the_private_hook_there_is_atexit(monkeypatch):
    registered = []
    monkeypatch.delattr("threading._register_atexit", raising=False)
    monkeypatch.setattr("atexit.register", registered.append)
    lifecycle._register(print)
    assert registered == [print]


def test_a_failing_service_is_reported(caplog, monkeypatch):
    class Broken:
        def end_at_exit(self):
            raise LookupError("of this service")

    service = Broken()
    stages = {stage: [] for stage in lifecycle.Stage}
    stages[lifecycle.Stage.POOLS].append(service)
    monkeypatch.setattr(lifecycle, "_stages", stages)
    monkeypatch.setattr(lifecycle, "_exiting", False)
    with caplog.at_level(logging.ERROR):
        lifecycle._end_all()
    assert "of this service" in caplog.text
    assert lifecycle.exiting()
