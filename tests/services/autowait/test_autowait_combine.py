"""Conditions made of others, and what a wait says when it ends."""

import copy
import pickle
import re
import socket
import threading
import time

import anyio
import pytest
from autowait_tools import LONG, Face, happening

from cup.errors import (
    ConditionTimeout,
    InvalidType,
    InvalidValue,
    WaitFailed,
    WaitTimeout,
)
from cup.services.autowait import (
    AllOf,
    FileExists,
    FileGone,
    PortOpen,
    Predicate,
    ProcessGone,
    RegexInFile,
    Won,
    _core_files,
    aio,
    all_of,
    any_of,
    look,
    not_,
    satisfied,
    wait,
)


@pytest.fixture
def paths(tmp_path):
    return tmp_path / "a", tmp_path / "b"


def test_all_hold_at_the_same_time(face, paths):
    a, b = paths
    with happening(a.touch, b.touch):
        assert face.wait(FileExists(a) & FileExists(b), LONG) == (a, b)


def test_all_does_not_remember_what_no_longer_holds(face, paths):
    a, b = paths
    with happening(a.touch, a.unlink, b.touch), pytest.raises(ConditionTimeout):
        face.wait(all_of(FileExists(a), FileExists(b)), 0.4)


def test_all_remembers_a_line(threads, paths):
    a, b = paths
    a.write_text("ready\n")
    with happening(a.unlink, b.touch):
        line, _ = threads.wait(RegexInFile(a, "ready") & FileExists(b), LONG)
    assert line.line == "ready"


def test_any_tells_who_won(face, paths):
    a, b = paths
    with happening(b.touch):
        won = face.wait(any_of(FileExists(a), FileExists(b)), LONG)
    assert won == Won(1, FileExists(b), b)
    a.touch()
    assert face.wait(FileExists(a) | FileExists(b), 0).index == 0


def test_either_of_a_file_and_a_line(threads, paths):
    a, b = paths
    with happening(lambda: a.write_text("failed: disk\n")):
        won = threads.wait(RegexInFile(a, r"failed: (\w+)") | FileExists(b), LONG)
    assert won.value.match[1] == "disk"


def test_not(face, paths):
    a, b = paths
    a.touch()
    with happening(a.unlink):
        assert face.wait(not_(FileExists(a)), LONG) is None
    assert satisfied(~~FileGone(b))


def test_only_states_can_be_negated(paths):
    a, _ = paths
    for condition in (RegexInFile(a, "x"), FileExists(a) & FileExists(a), 3):
        with pytest.raises(InvalidType, match="cannot be negated"):
            not_(condition)
    with pytest.raises(TypeError):
        ~RegexInFile(a, "x")


async def test_opposite_of_what_is_not_known_does_not_hold(tmp_path):
    async def hang():
        await anyio.sleep(LONG)

    with pytest.raises(ConditionTimeout, match="it may hold"):
        await aio.wait(not_(Predicate(hang)), 0.02)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        port = server.getsockname()[1]
        condition = PortOpen(port, "127.0.0.1", probe="connect")
        assert not await aio.satisfied(not_(condition))


def test_held_for(face, paths):
    a, _ = paths
    with happening(a.touch, a.unlink, a.touch, after=0.05):
        start = time.monotonic()
        assert face.wait(FileExists(a).held_for(0.15), LONG) == a
    assert time.monotonic() - start >= 0.29


def test_held_for_is_not_long_enough(threads, paths):
    a, _ = paths
    a.touch()
    with pytest.raises(ConditionTimeout, match=r"held for \d+\.\d s so far"):
        threads.wait(FileExists(a).held_for(60), 0.12)
    assert not satisfied(FileExists(a).held_for(0.01))
    assert satisfied(FileExists(a).held_for(0))


def test_held_for_what_has_no_events(threads):
    answers = iter([True, False] + [True] * 1000)
    condition = Predicate(lambda: next(answers), every=0.005).held_for(0.03)
    threads.wait(condition, LONG)


def test_fail_if(face, paths):
    a, b = paths
    condition = FileExists(a).fail_if(FileExists(b))
    with happening(b.touch), pytest.raises(WaitFailed) as caught:
        face.wait(condition, LONG)
    assert "came to hold" in caught.value.reason
    assert caught.value.reason in str(caught.value)
    assert "✗ FileExists" in str(caught.value)


def test_who_has_both_has_succeeded(face, paths):
    a, b = paths
    a.touch()
    b.touch()
    assert face.wait(FileExists(a).fail_if(FileExists(b)), 0) == a


def test_fail_if_inside_of_others(threads, paths):
    a, b = paths
    b.touch()
    inner = FileExists(a).fail_if(FileExists(b))
    for condition in (inner & FileExists("/"), inner.named("x"), inner.held_for(1)):
        with pytest.raises(WaitFailed):
            threads.wait(condition, LONG)
    assert threads.wait(any_of(inner, FileExists("/")), 0).index == 1


def test_named(threads, paths):
    condition = FileExists(paths[0]).named("the lock of the other one")
    with pytest.raises(
        ConditionTimeout, match="for the lock of the other one: not met"
    ):
        threads.wait(condition, 0)


def test_message_is_a_tree(paths):
    a, b = paths
    a.touch()
    condition = (FileExists(a) & (FileExists(b) | PortOpen(1))).named("the start")
    with pytest.raises(WaitTimeout) as caught:
        wait(condition, 0.02)
    lines = str(caught.value).splitlines()
    assert re.match(r"waited \d+\.\d s for the start: not met\.$", lines[0])
    assert [line.strip()[:2] for line in lines[1:-1]] == ["✗ "] * 2 + ["✓ "] + [
        "✗ "
    ] * 3
    assert lines[-1].startswith("Watched by ")
    assert "does not exist" in str(caught.value)
    assert "nobody listens" in str(caught.value)


@pytest.mark.parametrize("again", [copy.copy, lambda e: pickle.loads(pickle.dumps(e))])
def test_errors_survive_copies(paths, again):
    with pytest.raises(ConditionTimeout) as caught:
        wait(FileExists(paths[0]), 0.01)
    twin = again(caught.value)
    assert str(twin) == str(caught.value)
    assert (twin.timeout, twin.seen, twin.mechanism) == (
        0.01,
        caught.value.seen,
        caught.value.mechanism,
    )


def test_report(face, paths):
    a, b = paths
    a.touch()
    report = face.look(FileExists(a) & FileExists(b))
    assert [part.met for part in report.parts] == [True, False]
    assert not report.met
    assert "does not exist" in report.parts[1].seen
    assert report.mechanism
    assert "✓ FileExists" in str(report)
    assert look(FileExists(a)).met


# Functions


def test_predicate(face):
    answers = iter([0, "", None, "yes"])
    assert face.wait(Predicate(lambda: next(answers), every=0.001), LONG) == "yes"


def test_predicate_is_called_at_the_begin_and_at_the_end(face):
    called = []
    with pytest.raises(ConditionTimeout, match="it returned None"):
        face.wait(Predicate(lambda: called.append(1), every=60), 0.03)
    assert len(called) == 2
    called.clear()
    assert not face.satisfied(Predicate(lambda: called.append(1)))
    assert len(called) == 1


def test_last_call_counts(face):
    end = time.monotonic() + 0.1
    step = Predicate(lambda: time.monotonic() >= end, every=60)
    assert face.wait(step, 0.15) is True


def test_predicate_raises(face):
    def fail():
        raise KeyError("none of this")

    with pytest.raises(KeyError):
        face.wait(Predicate(fail), LONG)
    with pytest.raises(ConditionTimeout, match="it raised KeyError"):
        face.wait(Predicate(fail, ignoring=(LookupError,)), 0.01)


def test_predicate_together_with_events(face, paths):
    a, _ = paths
    gate = []
    condition = all_of(Predicate(lambda: gate, every=60), FileExists(a))
    with happening(lambda: gate.append(1), a.touch):
        assert face.wait(condition, LONG)[0] == [1]  # asked again as the file came


@pytest.mark.parametrize("colour", ["asyncio", "trio"])
def test_awaited_predicate(colour, paths):
    answers = iter([0, 0, 7])

    async def ask():
        await anyio.sleep(0.001)
        return next(answers)

    async def hang():
        await anyio.sleep(LONG)

    async def fail():
        raise KeyError

    face = Face(colour)
    assert face.wait(Predicate(ask, every=0.001), LONG) == 7
    start = time.monotonic()
    with pytest.raises(ConditionTimeout):
        face.wait(Predicate(hang), 0.05)
    assert time.monotonic() - start < LONG / 2
    with pytest.raises(KeyError):
        face.wait(Predicate(fail), LONG)
    with pytest.raises(ConditionTimeout, match="raised KeyError"):
        face.wait(Predicate(fail, ignoring=(KeyError,)), 0.01)


@pytest.mark.parametrize("colour", ["asyncio", "trio"])
def test_a_function_may_return_what_is_to_be_awaited(colour, paths):
    a, _ = paths
    a.touch()
    answers = iter([0, 0, 7, 0])

    face = Face(colour)
    asked = Predicate(lambda: say(next(answers)), every=0.001)
    assert face.wait(FileExists(a) & asked, LONG) == (a, 7)
    assert not face.satisfied(asked)
    assert not face.wait_return_true(lambda: say(0), 0.02, 0.001)
    assert face.wait_return_false(lambda: say(0), LONG)


async def say(answer):
    return answer


@pytest.mark.parametrize("colour", ["asyncio", "trio"])
def test_a_tree_is_walked_beside_the_loop_and_functions_are_called_on_it(
    colour, tmp_path, monkeypatch
):
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "x").touch()
    here, walked, called = threading.get_ident(), set(), set()
    scan = _core_files._scan

    def note(place):
        walked.add(threading.get_ident())
        return scan(place)

    monkeypatch.setattr(_core_files, "_scan", note)
    tree = FileExists(tmp_path, glob="x", recursive=True)
    face = Face(colour)
    asked = Predicate(lambda: called.add(threading.get_ident()) or len(called) > 0)
    assert face.wait(tree & asked, LONG)[0].name == "x"
    assert face.look(tree & asked).met
    assert face.satisfied(tree & asked)
    assert here not in walked
    assert called == {here}


@pytest.mark.parametrize("colour", ["asyncio", "trio"])
def test_a_function_that_hangs_at_the_end_is_given_up(colour):
    calls = []

    async def ask():
        calls.append(1)
        await anyio.sleep(LONG if len(calls) > 1 else 0)

    start = time.monotonic()
    with pytest.raises(ConditionTimeout):
        Face(colour).wait(Predicate(ask, every=LONG), 0.05)
    assert time.monotonic() - start < LONG / 2
    assert len(calls) == 2


def test_threads_refuse_what_is_to_be_awaited(paths):
    asked = Predicate(lambda: say(0))
    for call in (
        lambda: wait(asked, 1),
        lambda: wait(FileExists(paths[0]) | asked, 0),
    ):
        with pytest.raises(InvalidType, match=r"aio\.wait"):
            call()


def test_threads_refuse_coroutine_functions():
    async def ask():
        return True

    class Asker:
        async def __call__(self):
            return True

    for fn in (ask, Asker()):
        assert Predicate(fn).is_async()
        with pytest.raises(InvalidType, match=r"aio\.wait"):
            wait(Predicate(fn) & FileExists("/"), 1)


def test_predicate_is_a_value():
    assert Predicate(len, 1) == Predicate(len, 1) != Predicate(len, 2)
    assert len({Predicate(len), Predicate(len)}) == 1
    assert repr(Predicate(len)) == "Predicate(len)"
    assert repr(Predicate(len, name="x")) == "Predicate(x)"


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (all_of, InvalidValue),
        (any_of, InvalidValue),
        (lambda: Predicate(3), InvalidType),
        (lambda: PortOpen(80, 5), InvalidType),
        (lambda: PortOpen(80, ""), InvalidValue),
        (lambda: RegexInFile("/x", "x", count="2"), InvalidType),
        (lambda: RegexInFile("/x", "x", window=1e5), InvalidType),
        (lambda: Predicate(len, every=float("inf")), InvalidValue),
        (lambda: FileExists("/").held_for(float("nan")), InvalidValue),
        (lambda: FileExists("/").held_for(None), InvalidValue),
        (lambda: FileExists("/").fail_if("/x"), InvalidType),
        (lambda: all_of(FileExists("/"), len), InvalidType),
        (lambda: wait(AllOf((FileExists("/"), len)), 0), InvalidType),
    ],
)
def test_nonsense_is_refused(make, error):
    with pytest.raises(error):
        make()


def test_all_kinds_of_conditions_have_names(paths):
    a, _ = paths
    made = (FileExists(a) | ProcessGone(1)).held_for(2).fail_if(~FileGone(a))
    assert str(made)
    assert repr(made) == repr(copy.copy(made))
