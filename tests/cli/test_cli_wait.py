"""`python -m cup wait` as scripts use it."""

import json
import os
import re
import socket
import subprocess
import sys
import threading

import pytest

from cup.cli import main


@pytest.fixture
def cup_wait(capsys):
    """Run the command here; give its status, its output and its errors."""

    def call(*words):
        status = main(["wait", *map(str, words)])
        output = capsys.readouterr()
        return status, output.out.strip(), output.err.strip()

    return call


def test_file(cup_wait, tmp_path):
    path = tmp_path / "x"
    threading.Timer(0.05, path.touch).start()
    assert cup_wait("file", path, "--timeout", 20) == (0, str(path), "")
    assert cup_wait("gone", tmp_path / "y", "--timeout", 0) == (0, "", "")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a.done").touch()
    words = ("file", tmp_path, "--glob", "*.done", "--recursive")
    assert cup_wait(*words) == (0, str(tmp_path / "d" / "a.done"), "")


def test_time_out(cup_wait, tmp_path):
    status, output, errors = cup_wait("file", tmp_path / "x", "--timeout", 0.02)
    assert (status, output) == (1, "")
    assert re.match(r"cup wait: waited \d+\.\d s for FileExists\(", errors)
    assert "does not exist" in errors


def test_json(cup_wait, tmp_path):
    path = tmp_path / "app.log"
    path.write_text("one\nready: 7\n")
    status, output, errors = cup_wait("regex", path, "ready", "--json")
    assert (status, errors) == (0, "")
    told = json.loads(output)
    assert (told["outcome"], told["value"]) == ("met", "ready: 7")
    assert told["waited"] >= 0
    status, output, errors = cup_wait("regex", path, "no", "--json", "--timeout", 0)
    assert (status, errors) == (1, "")
    assert json.loads(output)["outcome"] == "timed out"


def test_regex_options(cup_wait, tmp_path):
    path = tmp_path / "app.log"
    path.write_text("ready\nready 2\n")
    assert (
        cup_wait("regex", path, "ready", "--count", 2, "--timeout", 0)[1] == "ready 2"
    )
    assert cup_wait("regex", path, "ready", "--from-end", "--timeout", 0)[0] == 1


def test_fail_if(cup_wait, tmp_path):
    path = tmp_path / "app.log"
    path.write_text("ERROR: no disk\n")
    words = ("regex", path, "ready", "--timeout", 20)
    status, _, errors = cup_wait(*words, "--fail-if", f"regex '{path}' ERROR")
    assert status == 3
    assert "given up" in errors
    assert cup_wait(*words, "--fail-if", "gone /", "--fail-if", f"file {path}")[0] == 3


def test_what_cannot_be_looked_at_has_failed(cup_wait, tmp_path):
    assert cup_wait("regex", tmp_path, "x")[0] == 3
    assert cup_wait("regex", tmp_path, "x", "--json")[0] == 3


def test_port(cup_wait):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert cup_wait("port", port, "--timeout", 20) == (0, str(port), "")
        assert cup_wait("port", f"localhost:{port}", "--timeout", 20)[0] == 0
        assert cup_wait("port", port, "--free", "--timeout", 0)[0] == 1
    assert cup_wait("port", port, "--free", "--timeout", 20)[0] == 0


def test_process_and_socket(cup_wait, tmp_path):
    assert cup_wait("process", os.getpid(), "--timeout", 0)[1] == str(os.getpid())
    assert cup_wait("process", tmp_path / "no", "--gone")[0] == 0
    assert cup_wait("complete", sys.executable, "--quiet", 0)[0] == 0
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()
        assert cup_wait("socket", tmp_path / "s", "--timeout", 20)[0] == 0


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("teatime",),
        ("file",),
        ("port", "http"),
        ("port", 0),
        ("regex", "x", "("),
        ("regex", "x", "y", "--encoding", "no-such"),
        ("file", "x", "--recursive"),
        ("file", "x", "--timeout", "nan"),
        ("file", "x", "--timeout", "soon"),
        ("file", "/", "--fail-if", "teatime 5"),
        ("file", "/", "--fail-if", "file"),
        ("file", "/", "--fail-if", "port 99999"),
        ("file", "/", "--fail-if", "regex x ("),
        ("port", "²"),
        ("file", "/", "--fail-if", "'"),
        ("file", "/", "--fail-if", ""),
    ],
    ids=lambda words: " ".join(map(str, words)) or "nothing",
)
def test_wrong_use(cup_wait, words):
    status, output, errors = cup_wait(*words)
    assert status == 2
    assert errors
    assert not output


def test_in_a_shell(tmp_path):
    script = f"""
        cup() {{ {sys.executable} -m cup "$@"; }}
        (sleep 0.2; echo "listening on 8080" >> app.log) &
        line=$(cup wait regex app.log 'listening on [0-9]+' --timeout 30)
        echo "got: $line"
        cup wait file never --timeout 0.05 2>/dev/null || echo "status: $?"
        wait
    """
    done = subprocess.run(
        ["/bin/sh", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.stdout == "got: listening on 8080\nstatus: 1\n", done.stderr
