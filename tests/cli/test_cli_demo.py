"""`python -m cup demo`: what it states is so, and its exit status tells."""

import json
import os
import re
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from cup import __version__
from cup.cli import _demo_folder, _demo_threadpool, demo, main
from cup.cli._demo_part import Part, Stage

COMMAND = [sys.executable, "-X", "dev", "-W", "error", "-m", "cup"]
pytestmark = pytest.mark.timeout(200)

SLOW = re.compile(r"Executing <.* took \d+\.\d+ seconds")
LOOPS = ["asyncio", "uvloop", "trio"] if find_spec("uvloop") else ["asyncio", "trio"]
PLACES = ["threads", *LOOPS, "all at once"]


def cup(*args, folder, **options):
    return subprocess.run(
        [*COMMAND, *args],
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
        **options,
    )


def told(errors):
    """Leave out what asyncio says, in its debug mode, of a machine that is slow."""
    return [line for line in errors.splitlines() if not SLOW.fullmatch(line)]


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """Run the whole demo once, with less work, and give its document."""
    folder = tmp_path_factory.mktemp("quick")
    run = cup("demo", "--json", "--quick", "--seed", "7", folder=folder)
    assert (run.returncode, told(run.stderr)) == (0, [])
    assert list(folder.iterdir()) == []
    return json.loads(run.stdout)


def facts_of(document, name, where):
    """Give what one part found, by what it is about; limits stand for what varies."""
    [part] = [
        part
        for part in document["parts"]
        if (part["name"], part["where"]) == (name, where)
    ]
    return {
        fact["what"]: fact[
            "promised" if str(fact["promised"]).startswith("at most") else "found"
        ]
        for fact in part["facts"]
    }


@pytest.fixture
def show(monkeypatch):
    """Run the demo with one made-up part; give its exit status."""

    def run(part, *args):
        parts = (Part("made.up", "a part that is made up", part),)
        monkeypatch.setattr(demo, "_FOR_THREADS", parts)
        return main(["demo", "made.up", *args])

    return run


# What it shows


@pytest.mark.long
def test_every_promise_is_kept(quick):
    assert quick["not_kept"] == 0
    facts = [fact for part in quick["parts"] for fact in part["facts"]]
    assert quick["kept"] == len(facts) > 40
    assert all(fact["kept"] for fact in facts)
    assert all(part["kept"] and part["facts"] for part in quick["parts"])


@pytest.mark.long
def test_document_says_how_it_was_run(quick):
    assert quick["cup"] == __version__
    assert quick["seed"] == 7
    assert quick["quick"] is True
    assert quick["seconds"] >= sum(part["seconds"] for part in quick["parts"]) > 0


@pytest.mark.long
def test_every_part_runs_everywhere(quick):
    played = {(part["name"], part["where"]) for part in quick["parts"]}
    assert played == {
        *((p.name, place) for p in demo._FOR_THREADS for place in PLACES[:-1]),
        *((p.name, PLACES[-1]) for p in demo._TOGETHER),
    }


@pytest.mark.long
@pytest.mark.parametrize("part", demo._FOR_THREADS, ids=lambda part: part.name)
@pytest.mark.parametrize("loop", LOOPS)
def test_tasks_find_what_threads_find(quick, part, loop):
    in_threads = facts_of(quick, part.name, "threads")
    in_tasks = facts_of(quick, part.name, loop)
    assert in_tasks == in_threads


@pytest.mark.long
@pytest.mark.parametrize("where", PLACES[:-1])
def test_cancelled_and_run_add_up(quick, where):
    facts = facts_of(quick, "threadpool.cancel", where)
    assert facts["jobs cancelled"] + facts["jobs run"] == 100
    assert facts["jobs both run and cancelled"] == 0


@pytest.mark.long  # CI runs the README's command for it, besides
def test_demo_at_full_size_prints_plain_lines(tmp_path):
    run = cup("demo", folder=tmp_path)
    assert (run.returncode, told(run.stderr)) == (0, [])
    assert list(tmp_path.iterdir()) == []
    lines = run.stdout.splitlines()
    assert lines[0].startswith(f"cup {__version__}, ")
    assert [line for line in lines if line in PLACES] == PLACES
    assert "\x1b" not in run.stdout
    assert sum(line.startswith("    ok  ") for line in lines) > 40
    assert " promises kept, in " in lines[-1]


def test_threads_come_first_and_load_no_loop(tmp_path):
    code = (
        "import sys; from pathlib import Path; from tempfile import mkdtemp\n"
        "from cup.cli import demo; from cup.cli._demo_part import Stage\n"
        "where, parts = next(demo._chapters(('asyncio', 'trio')))\n"
        "for part in parts:\n"
        "    folder = Path(mkdtemp(dir=sys.argv[1]))\n"
        "    part.run(Stage(folder=folder, quick=True))\n"
        "print(where, {'asyncio', 'anyio', 'trio', 'rich'} & {*sys.modules})"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, tmp_path],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert (run.stdout, run.stderr) == ("threads set()\n", "")


def test_one_part_can_be_chosen(capsys):
    assert main(["demo", "--quick", "--json", "threadpool.urgency"]) == 0
    parts = json.loads(capsys.readouterr().out)["parts"]
    assert [part["where"] for part in parts] == PLACES[:-1]
    assert {part["name"] for part in parts} == {"threadpool.urgency"}


# When something differs


def lie(stage):
    stage.exactly("two and two", 5, 4)
    stage.exactly("the sky", ["blue"], ["blue"])
    stage.at_most("fingers", 11, 10)


def fail(stage):
    stage.exactly("two and two", 4, 4)
    raise ZeroDivisionError("no such quotient")


def test_a_broken_promise_is_printed_and_ends_with_1(show, capsys):
    assert show(lie) == 1
    out = capsys.readouterr().out
    assert "DIFFERS two and two: 5; promised: 4\n" in out
    assert "ok      the sky: blue\n" in out
    assert "DIFFERS fingers: 11; promised: at most 10\n" in out
    assert out.splitlines()[-1].startswith("1 promises kept, 2 NOT KEPT, in ")


def test_a_part_that_raises_is_printed_and_ends_with_1(show, capsys):
    assert show(fail) == 1
    out, err = capsys.readouterr()
    assert "ok      two and two: 4\n" in out
    assert "FAILED  ZeroDivisionError: no such quotient\n" in out
    assert "1 promises kept, 1 NOT KEPT" in out
    assert "in fail" in err


@pytest.mark.parametrize("part", [lie, fail])
def test_the_document_tells_it_too(show, capsys, part):
    assert show(part, "--json") == 1
    document = json.loads(capsys.readouterr().out)
    [told] = document["parts"]
    assert told["kept"] is False
    assert document["kept"] == 1
    assert document["not_kept"] == (2 if part is lie else 1)
    assert bool(told["error"]) == (part is fail)


def test_a_pool_that_does_not_follow_is_found_out(monkeypatch, capfd):
    monkeypatch.setattr(_demo_threadpool.ThreadPool, "resize", lambda *_: None)
    monkeypatch.setattr(_demo_threadpool, "PATIENCE", 0.05)
    monkeypatch.setattr(Stage, "many", lambda *_: 20)
    assert main(["demo", "threadpool.resize", "--quick", "--json"]) == 1
    document = json.loads(capfd.readouterr().out)
    in_threads = document["parts"][0]
    assert in_threads["error"].startswith("cup.errors.WaitTimeout: not within 0.05 s")


def test_a_copy_that_differs_is_found_out(monkeypatch, capsys):
    def deliver(archive, place):
        copy = dict(_demo_folder.deliver(archive, place))
        if place.name == "place3":
            copy.popitem()
        return copy

    monkeypatch.setattr(_demo_threadpool, "deliver", deliver)
    assert main(["demo", "threadpool.distribute", "--quick"]) == 1
    assert "MB): 5; promised: 6" in capsys.readouterr().out


# How it is called


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "required: COMMAND"),
        (["no-such-command"], "no-such-command"),
        (["demo", "no-such-part"], "choose from threadpool.distribute"),
        (["demo", "--seed", "x"], "invalid int value"),
        (["demo", "--no-such-option"], "--no-such-option"),
    ],
)
def test_usage_error_ends_with_2(args, words, capsys):
    assert main(args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err


def test_usage_error_of_the_process(tmp_path):
    run = cup("demo", "no-such-part", folder=tmp_path)
    assert (run.returncode, run.stdout) == (2, "")


def test_version(tmp_path):
    run = cup("--version", folder=tmp_path)
    assert (run.returncode, run.stdout) == (0, f"cup {__version__}\n")


def test_help_lists_parts_and_exit_status(capsys):
    assert main(["demo", "--help"]) == 0
    out = capsys.readouterr().out
    for words in ("threadpool.share", "exit status:", "  130  interrupted"):
        assert words in out


@pytest.mark.parametrize("args", [["demo"], ["demo", "--json"]])
def test_missing_trio_ends_with_2_and_says_what_to_install(args, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "trio", None)
    assert main(args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("cup: ")
    assert "pip install 'cup-services[cli]'" in err


def on_terminal(monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")


@pytest.mark.parametrize("part", [lie, fail])
def test_terminal_with_rich_gets_colours_and_a_table(part, show, capsys, monkeypatch):
    pytest.importorskip("rich", reason="the cli extra is not installed")
    on_terminal(monkeypatch)
    assert show(part) == 1
    out = capsys.readouterr().out
    assert "\x1b[" in out
    assert "│ made.up │" in out
    assert "NOT KEPT" in out


def test_terminal_without_rich_gets_plain_lines(show, capsys, monkeypatch):
    on_terminal(monkeypatch)
    monkeypatch.setitem(sys.modules, "rich", None)
    assert show(lie) == 1
    assert "\x1b" not in capsys.readouterr().out


# How it is ended early


@pytest.mark.parametrize("wrapped", [False, True])
def test_ctrl_c_ends_with_130(wrapped, show, capsys):
    class Group(BaseException):  # as task groups have
        exceptions = (ValueError(), KeyboardInterrupt())

    def stop(stage):
        raise Group if wrapped else KeyboardInterrupt

    assert show(stop, "--json") == 130
    assert capsys.readouterr() == ("", "cup: interrupted\n")


def test_other_exits_pass(show):
    def stop(stage):
        raise GeneratorExit

    with pytest.raises(GeneratorExit):
        show(stop)


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGINT for one process")
@pytest.mark.parametrize("where", ["threads", "asyncio", "trio"])
def test_real_ctrl_c_leaves_nothing_behind(where, tmp_path):
    with subprocess.Popen(
        [*COMMAND, "demo", "threadpool.distribute"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while process.stdout.readline() != f"{where}\n":
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=100)
    assert (process.returncode, told(err)) == (130, ["cup: interrupted"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="pipes break in other ways")
def test_nobody_reads_on(tmp_path):
    with subprocess.Popen(
        [*COMMAND, "demo", "threadpool.urgency"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        process.stdout.close()
        err = process.stderr.read()
    assert (process.returncode, told(err)) == (1, [])


# The folder


def test_a_seed_makes_the_same_folder(tmp_path):
    for name, seed in [("a", 1), ("b", 1), ("c", 2)]:
        words = _demo_folder.make_folder(tmp_path / name, files=12, seed=seed)
        assert words.startswith("12 files, ")
    sums = {name: _demo_folder.checksums(tmp_path / name) for name in "abc"}
    assert sums["a"] == sums["b"]
    assert sums["a"].keys() == sums["c"].keys()
    assert sums["a"] != sums["c"]
    assert len({name.count("/") for name in sums["a"]}) == 1


def test_a_delivery_replaces_what_was_there(tmp_path):
    _demo_folder.make_folder(tmp_path / "source", files=5, seed=1)
    packed = _demo_folder.pack(tmp_path / "source", tmp_path / "source.tar.gz")
    place = tmp_path / "place"
    place.mkdir()
    (place / "old").write_text("old")
    assert _demo_folder.deliver(tmp_path / "source.tar.gz", place) == packed
    assert not (place / "old").exists()


def test_the_root_is_never_replaced(tmp_path):
    with pytest.raises(ValueError, match="is the root of the file system"):
        _demo_folder.deliver(tmp_path / "none.tar.gz", Path("/"))
