"""Names and numbers: unique over threads, forks, restarts and generators."""

import copy
import ctypes
import gc
import itertools
import os
import pickle
import random
import re
import signal
import socket
import string
import subprocess
import sys
import threading
import uuid
import warnings
import weakref

import pytest

from cup.errors import InvalidType, InvalidValue
from cup.services.generator import (
    AsyncCGeneratorMan,
    AsyncCGeneratorManBase,
    CGeneratorMan,
    CGeneratorManBase,
    GeneratorStats,
    _core,
)

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture(autouse=True)
def no_generator_yet():
    """Let each test make the generator of the process anew."""
    before = dict(_core._only)
    _core._only.clear()
    yield
    _core._only.clear()
    _core._only.update(before)


@pytest.fixture(params=[CGeneratorManBase, AsyncCGeneratorManBase])
def man(request):
    return request.param("unit")


def in_children(number, function):
    """Run a function in forked children and return the lines that each answers."""
    readers = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of other tests
        for _ in range(number):
            reader, writer = os.pipe()
            if not os.fork():
                try:
                    with os.fdopen(writer, "w") as answer:
                        answer.write("\n".join(map(str, function())))
                finally:
                    os._exit(0)
            os.close(writer)
            readers.append(reader)
    answers = []
    for reader in readers:
        with os.fdopen(reader) as answer:
            answers.append(answer.read().split("\n"))
    for _ in readers:
        os.wait()
    return answers


def in_threads(number, function):
    """Run a function in threads that start together; return what each returns."""
    results = []
    start = threading.Barrier(number)

    def work():
        start.wait()
        results.append(function())

    threads = [threading.Thread(target=work) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


# Names


def test_a_name_tells_prefix_process_counter_and_thread(man):
    first, second = man.get_uniqname(), man.get_uniqname()
    prefix, pid, token, counter, marker, thread = first.rsplit("_", 5)
    assert (prefix, pid, counter) == ("unit", str(os.getpid()), "0")
    assert (marker, thread) == ("thd", str(threading.get_ident()))
    assert re.fullmatch("[0-9a-f]{16}", token)
    assert second == f"unit_{pid}_{token}_1_thd_{thread}"


@pytest.mark.parametrize("prefix", ["", "a_1_2", "web 1/ä", "_", "x" * 500])
def test_a_name_can_be_read_whatever_the_prefix(prefix):
    name = CGeneratorManBase(prefix).get_uniqname()
    assert name.rsplit("_", 5)[0] == prefix
    assert len(name.rsplit("_", 5)) == 6


def test_localhost_means_the_name_of_the_host():
    host = socket.gethostname()
    assert CGeneratorManBase().get_uniqname().rsplit("_", 5)[0] == host
    assert CGeneratorManBase("localhost").stats().prefix == host


def test_names_and_numbers_are_unique_over_threads(man):
    def work():
        return [(man.get_uniqname(), man.get_next_uniq_num()) for _ in range(10_000)]

    lists = in_threads(8, work)
    for pairs in lists:
        numbers = [number for _, number in pairs]
        assert numbers == sorted(numbers)
    pairs = list(itertools.chain(*lists))
    assert len({name for name, _ in pairs}) == 80_000
    assert {number for _, number in pairs} == set(range(80_000))


def test_generators_with_one_prefix_give_different_names():
    one, two = CGeneratorManBase("same"), CGeneratorManBase("same")
    assert one.get_uniqname() != two.get_uniqname()
    assert one.get_next_uniq_num() == two.get_next_uniq_num() == 0


def test_a_reset_repeats_no_name(man):
    names = [man.get_uniqname() for _ in range(3)]
    man.reset_uniqid_start()
    names += [man.get_uniqname() for _ in range(3)]
    assert len({*names}) == 6


def test_a_program_that_starts_again_repeats_no_name(monkeypatch):
    monkeypatch.setattr(os, "getpid", lambda: 1)  # as in a container
    names = [CGeneratorManBase("web").get_uniqname() for _ in range(1000)]
    assert all(name.startswith("web_1_") for name in names)
    assert len({*names}) == 1000


def test_processes_that_start_together_differ():
    program = (
        "from cup.services import generator\n"
        "print(generator.CGeneratorMan('p').get_uniqname())"
    )
    runs = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    names = {run.communicate(timeout=30)[0] for run in runs}
    assert len(names) == 3


# Numbers


def test_numbers_count_from_zero(man):
    assert [man.get_next_uniq_num() for _ in range(3)] == [0, 1, 2]
    assert man.get_next_uniqhex() == "0x3"
    assert man.get_next_uniq_num() == 4


def test_a_reset_begins_anew(man):
    man.get_next_uniq_num()
    man.reset_uniqid_start()
    assert man.get_next_uniq_num() == 0
    man.reset_uniqid_start(30)
    assert man.get_next_uniqhex() == "0x1e"
    man.reset_uniqid_start(num=2**62 - 1)
    assert man.get_next_uniq_num() == 2**62 - 1


@pytest.mark.parametrize("num", [-1, 2**62])
def test_a_reset_out_of_range_is_refused(man, num):
    with pytest.raises(InvalidValue, match=f"num is {num}"):
        man.reset_uniqid_start(num)
    assert man.get_next_uniq_num() == 0


@pytest.mark.parametrize("num", ["1", 1.0, None, True])
def test_a_reset_to_no_integer_is_refused(man, num):
    with pytest.raises(InvalidType, match="give an integer"):
        man.reset_uniqid_start(num)


# Forks


@needs_fork
def test_children_repeat_nothing_of_the_parent_or_each_other():
    man = CGeneratorMan("fork")
    parent = [man.get_uniqname(), man.get_next_uniq_num()]

    def draw():
        yield os.getpid()
        for _ in range(500):
            yield man.get_uniqname()
            yield man.get_next_uniq_num()

    answers = in_children(6, draw)
    parent += [man.get_uniqname(), man.get_next_uniq_num()]
    drawn = [value for _, *values in answers for value in values]
    drawn += map(str, parent)
    assert len({*drawn}) == len(drawn) == 6 * 1000 + 4
    for pid, *values in answers:
        assert all(name.startswith(f"fork_{pid}_") for name in values[::2])
        numbers = [int(number) for number in values[1::2]]
        assert numbers == list(range(numbers[0], numbers[0] + 500))
        assert 2**62 <= numbers[0] < 2**63
    assert parent[1::2] == [0, 1]


@needs_fork
def test_grandchildren_repeat_nothing():
    man = CGeneratorManBase("fork")

    def child():
        own = [man.get_uniqname(), man.get_next_uniq_num()]
        ((*theirs,),) = in_children(1, lambda: [man.get_uniqname(), next_number()])
        return own + theirs + [man.get_uniqname(), man.get_next_uniq_num()]

    next_number = man.get_next_uniq_num
    drawn = [value for values in in_children(2, child) for value in values]
    assert len({*drawn}) == len(drawn) == 12


@needs_fork
def test_threads_of_a_child_agree():
    man = CGeneratorManBase("fork")

    def child():
        lists = in_threads(4, lambda: [man.get_next_uniq_num() for _ in range(1000)])
        return sorted(itertools.chain(*lists))

    ((*drawn,),) = in_children(1, child)
    numbers = [int(number) for number in drawn]
    assert numbers == list(range(numbers[0], numbers[0] + 4000))


@needs_fork
def test_a_child_may_reset_its_numbers_alone():
    man = CGeneratorManBase("fork")
    man.get_next_uniq_num()

    def child():
        man.reset_uniqid_start(7)
        return [man.get_next_uniq_num()]

    assert in_children(1, child) == [["7"]]
    assert man.get_next_uniq_num() == 1


@needs_fork
def test_the_child_of_a_server_that_runs_no_hooks(monkeypatch):
    def fork_without_hooks():
        return ctypes.PyDLL(None).fork()

    man = CGeneratorManBase("fork")
    before = [man.get_uniqname(), man.get_next_uniq_num()]
    monkeypatch.setattr(os, "fork", fork_without_hooks)
    answers = in_children(
        2, lambda: [os.getpid(), man.get_uniqname(), man.get_next_uniq_num()]
    )
    tokens = {before[0].rsplit("_", 5)[2]}
    for pid, name, number in answers:
        assert name.startswith(f"fork_{pid}_")
        assert int(number) >= 2**62
        tokens.add(name.rsplit("_", 5)[2])
    assert len(tokens) == 3


def test_a_new_process_draws_from_counters_of_its_own(man, monkeypatch):
    before = [man.get_uniqname(), man.get_next_uniq_num()]
    monkeypatch.setattr(_core, "generation", lambda: 5)
    name, number = man.get_uniqname(), man.get_next_uniq_num()
    assert name.rsplit("_", 5)[2:4] != before[0].rsplit("_", 5)[2:4]
    assert number >= 2**62
    monkeypatch.setattr(_core, "generation", lambda: 6)
    assert man.get_next_uniq_num() not in (number, number + 1)
    assert man.stats().names == 0


@needs_fork
def test_a_child_that_makes_its_own_generator_counts_from_zero():
    answers = in_children(2, lambda: [CGeneratorManBase("a").get_next_uniq_num()])
    assert answers == [["0"], ["0"]]


# Signals and finalizers


@pytest.mark.skipif(sys.platform == "win32", reason="needs an interval timer")
def test_signal_handlers_may_draw(man):
    drawn = []
    before = signal.signal(
        signal.SIGALRM,
        lambda *_: drawn.append((man.get_uniqname(), man.get_next_uniq_num())),
    )
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    own = []
    try:
        while len(drawn) < 50:
            own.append((man.get_uniqname(), man.get_next_uniq_num()))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len({name for name, _ in own + drawn}) == len(own + drawn)
    assert {number for _, number in own + drawn} == set(range(len(own + drawn)))


# Random texts


@pytest.mark.parametrize("length", [0, 1, 16, 1000])
def test_random_letters(man, length):
    text = man.get_random_str(length)
    assert len(text) == length
    assert {*text} <= {*string.ascii_lowercase}


def test_random_letters_are_fair(man):
    text = man.get_random_str(260_000)
    counts = [text.count(letter) for letter in string.ascii_lowercase]
    assert 9_000 < min(counts) <= max(counts) < 11_000


def test_random_letters_do_not_follow_a_seed(man):
    random.seed(1)
    first = man.get_random_str(20)
    random.seed(1)
    assert man.get_random_str(20) != first


@pytest.mark.parametrize("length", [-1, -100])
def test_a_negative_length_is_refused(man, length):
    with pytest.raises(InvalidValue, match=f"length is {length}"):
        man.get_random_str(length)


@pytest.mark.parametrize("length", ["1", 1.0, None, True])
def test_a_length_that_is_no_integer_is_refused(man, length):
    with pytest.raises(InvalidType, match="give an integer"):
        man.get_random_str(length)


def test_uuids(man):
    drawn = {man.get_uuid() for _ in range(1000)}
    assert len(drawn) == 1000
    assert all(re.fullmatch("[0-9a-f]{32}", text) for text in drawn)
    assert {uuid.UUID(text).version for text in drawn} == {4}


# One per process


def test_there_is_one_per_process():
    assert CGeneratorMan() is CGeneratorMan()
    assert CGeneratorMan() == CGeneratorMan("localhost")


def test_another_prefix_warns_and_changes_nothing():
    man = CGeneratorMan("first")
    with pytest.warns(RuntimeWarning, match="has the prefix 'first' already") as seen:
        again = CGeneratorMan("second")
    assert seen[0].filename == __file__
    assert again is man
    assert man.get_uniqname().startswith("first_")


def test_the_same_prefix_or_none_does_not_warn():
    man = CGeneratorMan("first")
    assert CGeneratorMan("first") is CGeneratorMan() is man
    assert CGeneratorMan(str_prefix="localhost") is man


def test_the_name_of_the_host_is_the_default_prefix():
    man = CGeneratorMan()
    assert CGeneratorMan(socket.gethostname()) is man


def test_threads_get_the_same_one():
    assert len({id(man) for man in in_threads(8, CGeneratorMan)}) == 1


def test_a_derived_class_is_the_same_generator():
    class Mine(CGeneratorMan):
        pass

    man = CGeneratorMan("mine")
    assert isinstance(Mine(), Mine)
    assert Mine() is Mine()
    assert [man.get_next_uniq_num(), Mine().get_next_uniq_num()] == [0, 1]


@pytest.mark.parametrize("kind", [CGeneratorMan, CGeneratorManBase])
@pytest.mark.parametrize("prefix", [None, 5, b"bytes"])
def test_a_prefix_that_is_no_text_is_refused(kind, prefix):
    with pytest.raises(InvalidType, match="give a text"):
        kind(prefix)
    CGeneratorMan("good")
    with pytest.raises(InvalidType, match="give a text"):
        kind(prefix)


# Twins and the rest


@pytest.mark.parametrize(
    ("sync", "aio"),
    [
        (CGeneratorMan, AsyncCGeneratorMan),
        (CGeneratorManBase, AsyncCGeneratorManBase),
    ],
)
def test_twins_are_faces_of_one_generator(sync, aio):
    man = sync("twin")
    assert type(man.aio) is aio
    assert man.aio is man.aio
    assert man.aio.sync is man
    drawn = [man.get_next_uniq_num(), man.aio.get_next_uniq_num()]
    assert drawn == [0, 1]
    other = aio("twin") if sync is CGeneratorManBase else aio()
    assert type(other.sync) is sync
    assert other.sync.aio is other


def test_the_async_one_is_one_per_process_too():
    man = AsyncCGeneratorMan("aio")
    assert man is AsyncCGeneratorMan()
    assert man.sync is CGeneratorMan()
    with pytest.warns(RuntimeWarning, match="AsyncCGeneratorManBase for another"):
        AsyncCGeneratorMan("other")


def test_a_derived_class_is_found_by_its_twin():
    class Mine(CGeneratorManBase):
        pass

    man = Mine("mine")
    assert man.aio.sync is man


async def test_in_an_event_loop():
    man = AsyncCGeneratorManBase("loop")
    assert man.get_uniqname().startswith("loop_")
    assert man.get_next_uniq_num() == 0


def test_stats_and_repr(man):
    man.get_uniqname()
    for _ in range(3):
        man.get_next_uniq_num()
    assert man.stats() == GeneratorStats(
        prefix="unit", pid=os.getpid(), names=1, next_number=3
    )
    kind = type(man).__name__
    expected = f"<{kind} 'unit' pid {os.getpid()}, 1 names, next number 3>"
    assert repr(man) == expected


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_it_cannot_be_copied(man, copied):
    with pytest.raises(InvalidType, match="cannot be pickled or copied"):
        copied(man)


def test_a_dropped_generator_goes_away():
    man = CGeneratorManBase("dropped")
    seen = [weakref.ref(man), weakref.ref(man.aio)]
    del man
    gc.collect()
    assert [reference() for reference in seen] == [None, None]
