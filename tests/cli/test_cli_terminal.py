"""Every command as a user meets it: in a terminal, without one, and by mistake."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cup.cli import COMMANDS

pty = pytest.importorskip("pty")

CUP = [sys.executable, "-m", "cup"]


def in_terminal(*words, timeout=60):
    """Run a command in a terminal of its own; return its status and what it shows."""
    screen, keyboard = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "200"}
    with subprocess.Popen(
        [*CUP, *words],
        stdin=keyboard,
        stdout=keyboard,
        stderr=keyboard,
        env=environment,
    ) as process:
        os.close(keyboard)
        shown = bytearray()
        while True:
            try:
                portion = os.read(screen, 65536)
            except OSError:  # it has ended
                break
            if not portion:
                break
            shown += portion
        os.close(screen)
        return process.wait(timeout), shown.decode()


def without(*words, **options):
    return subprocess.run(
        [*CUP, *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,
    )


ACTIONS = {
    "log": ["verify", "inspect", "repair", "tail", "dump"],
    "heartbeat": ["monitor", "beat"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_how_to_use_it(command):
    for action in ACTIONS.get(command, [""]):
        run = without(command, *action.split(), "--help")
        assert run.returncode == 0
        assert "usage: cup" in run.stdout
        assert "exit status" in run.stdout
        assert run.stderr == ""


def test_help_names_every_command():
    run = without("--help")
    assert run.returncode == 0
    listed = re.findall(r"^    (\w+)", run.stdout, re.MULTILINE)
    assert {*COMMANDS} <= {*listed}


@pytest.mark.parametrize(
    "words",
    [
        ["nothing"],
        ["cron", "every morning"],
        ["id", "kind"],
        ["wait", "file"],
        ["log", "verify", "/nowhere/at/all"],
        ["fanout", "/nowhere/at/all", "/tmp/there"],
        ["top", "--interval", "0"],
        ["heartbeat", "beat"],
        ["demo", "nothing"],
    ],
    ids=" ".join,
)
def test_mistakes_are_told_in_words(words):
    run = without(*words)
    assert run.returncode not in (0, 130)
    assert "Traceback" not in run.stderr + run.stdout
    assert run.stderr.strip()


def test_a_terminal_has_colours_and_a_file_has_none():
    pytest.importorskip("rich")
    status, shown = in_terminal("doctor")
    assert status == 0
    assert "\x1b[" in shown
    assert "what follows" in shown
    plain = without("doctor")
    assert "\x1b[" not in plain.stdout
    assert re.search(r"^  ok +python: ", plain.stdout, re.MULTILINE)


@pytest.mark.parametrize("words", [["id", "uuid7"], ["cron", "*/5 * * * *"]])
def test_the_same_is_printed_in_a_terminal(words):
    status, shown = in_terminal(*words, *([] if words[0] == "id" else ["-n", "1"]))
    assert status == 0
    assert shown.strip()
    assert "Traceback" not in shown


def test_json_is_json_in_a_terminal_too():
    status, shown = in_terminal("doctor", "--json")
    assert status == 0
    assert shown.lstrip().startswith("{")
    assert "\x1b[" not in shown


def test_a_reader_that_leaves_is_no_error():
    with subprocess.Popen(
        [*CUP, "id", "uuid7", "-n", "200000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read().decode()
        process.wait(60)
    assert "Traceback" not in errors


@pytest.mark.parametrize("command", ["id", "cron", "doctor"])
def test_a_command_loads_only_what_it_needs(command):
    code = (
        "import sys\n"
        "from cup.cli import main\n"
        f"try: main(['{command}', '--help'])\n"
        "except SystemExit: pass\n"
        "print({'asyncio', 'anyio', 'trio', 'rich'} & {*sys.modules}, file=sys.stderr)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert run.stderr.strip() == "set()"


FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.is_char_device(), reason="needs /dev/full")
@pytest.mark.parametrize(
    "words", [["id", "uuid7"], ["--version"], ["doctor"]], ids=" ".join
)
def test_output_that_cannot_be_written_is_told(words):
    environment = {**os.environ, "PYTHONUNBUFFERED": ""}
    with FULL.open("w") as full:
        run = subprocess.run(
            [sys.executable, "-m", "cup", *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
            env=environment,
        )
    assert run.returncode == 1
    assert run.stderr.splitlines() == ["cup: [Errno 28] No space left on device"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
@pytest.mark.parametrize("command", ["doctor", "id uuid7", "wait file /"])
def test_no_output_at_all_is_no_error(command):
    run = subprocess.run(
        ["/bin/sh", "-c", f"{sys.executable} -m cup {command} >&-"],
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a path of any bytes")
@pytest.mark.parametrize("encoding", ["ascii", "utf-8:strict"])
def test_names_that_the_output_has_no_code_for(tmp_path, encoding):
    path = tmp_path / "na\N{LATIN SMALL LETTER I WITH DIAERESIS}ve-\udcff"
    path.touch()
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    run = without("wait", "file", path, env=environment)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.strip().endswith("ve-\\udcff")
