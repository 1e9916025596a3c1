"""`cup fanout` to a real sshd on the loopback."""

import getpass
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import fanout_tools
import pytest
from fanout_tools import (
    CUP,
    Sshd,
    cup_fanout,
    leftovers,
    make_tree,
    picture,
    wait_for,
)

from cup.cli import main
from cup.cli._fanout_pack import pack_folder
from cup.cli._fanout_places import find_places
from cup.cli._fanout_script import ssh_command

WHY_NOT = fanout_tools.why_no_sshd()
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "it can be started")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return make_tree(tmp_path_factory.mktemp("source") / "tree")


@pytest.fixture(scope="module")
def daemons(tmp_path_factory):
    """Give two machines, as far as a client can see."""
    home = tmp_path_factory.mktemp("sshd")
    both = [Sshd(home / "one").start(), Sshd(home / "two").start()]
    yield both
    for one in both:
        one.stop()


@pytest.fixture(scope="module")
def dead():
    """Give the port of a machine that takes connections, and says nothing."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen(512)
        yield one.getsockname()[1]


@pytest.fixture(scope="module")
def config(daemons, dead, tmp_path_factory):
    """Give the file that says which machines there are."""
    home = tmp_path_factory.mktemp("client")
    one, two = daemons
    stranger = Sshd(home / "stranger")
    file = home / "config"
    file.write_text(
        one.client("web1")
        + two.client("web2")
        + one.client("alias")
        + one.client("locked", key=stranger.key)
        + one.client("impostor", f"UserKnownHostsFile {home / 'none'}").replace(
            f"UserKnownHostsFile {one.home / 'known'}\n", ""
        )
        + f"Host dead\nHostName 127.0.0.1\nPort {dead}\n"
        + "Host *\nStrictHostKeyChecking yes\nGlobalKnownHostsFile none\n"
    )
    return file


@pytest.fixture
def fanout(config, capfd, source):
    """Run the command here; give its exit status and its JSON document."""

    def run(*args, source=source):
        words = [source, *args, "--json", "--ssh-config", config]
        status = main(["fanout", *map(str, words)])
        out, err = capfd.readouterr()
        document = json.loads(out) if out else {}
        document["err"] = err
        return status, document

    return run


def states(document):
    return [one["state"] for one in document["destinations"]]


def remarks(document):
    return [one["remark"] for one in document["destinations"]]


def test_same_folder_on_several_machines(fanout, source, daemons, tmp_path):
    two = daemons[1]
    user = getpass.getuser()
    places = [tmp_path / name for name in ("a", "deep/er/b", "c", "d")]
    relative = os.path.relpath(places[3], Path.home())
    status, document = fanout(
        f"web1:{places[0]}",
        f"{user}@web2:{places[1]}",
        f"ssh://web2:{two.port}{places[2]}",
        f"web1:{relative}",
    )
    assert (status, states(document)) == (0, ["delivered"] * 4)
    for place in places:
        assert picture(place) == picture(source)
    assert leftovers(tmp_path) == []


def test_what_is_there_is_replaced_as_a_whole(fanout, source, tmp_path):
    (tmp_path / "x" / "old").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "x")
    status, document = fanout(f"web1:{tmp_path / 'link'}", "--retries", 0)
    assert (status, states(document)) == (0, ["delivered"])
    assert (tmp_path / "link").is_symlink()
    assert picture(tmp_path / "x") == picture(source)


def test_each_problem_is_one_of_its_destination(fanout, source, tmp_path):
    (tmp_path / "file").write_text("no folder")
    status, document = fanout(
        f"web1:{tmp_path / 'good'}",
        f"locked:{tmp_path / 'a'}",
        f"impostor:{tmp_path / 'b'}",
        f"no-such-host.invalid:{tmp_path / 'c'}",
        f"web1:{tmp_path / 'file'}",
        f"web2:{source}",
        f"web1:{source.parent}",
        f"web2:{source.parent}/../{source.parent.name}/tree/a/inside",
        f"web2:{Path.home()}",
        f"alias:{tmp_path / 'good'}",
        "web1:/etc",
        f"web2:{tmp_path / 'fine'}",
        *("--retries", 0),
    )
    assert (status, states(document)) == (
        1,
        ["delivered", *["failed"] * 3, *["refused"] * 7, "delivered"],
    )
    words = [
        *("Permission denied", "Host key verification failed", "resolve"),
        *("no folder", "it is the source", "it holds the source", "or in it", "in it"),
        *("same folder as web1:", "system"),
    ]
    for remark, word in zip(remarks(document)[1:-1], words, strict=True):
        assert word in remark
    assert picture(tmp_path / "fine") == picture(tmp_path / "good") == picture(source)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "fine", "good"]


def test_dead_machine_costs_its_time_limit(fanout, tmp_path):
    began = time.monotonic()
    status, document = fanout(
        f"dead:{tmp_path / 'a'}", "--timeout", 0.4, "--retries", 1, "--backoff", 0
    )
    assert (status, remarks(document)) == (
        1,
        ["it was not done within 0.4 s (--timeout)"],
    )
    assert 0.8 <= time.monotonic() - began < 20


def test_what_cannot_get_better_is_not_tried_again(fanout, tmp_path):
    status, document = fanout(f"locked:{tmp_path / 'a'}", "--backoff", 0)
    assert (status, document["destinations"][0]["attempts"]) == (1, 1)


def test_refused_connection_is_tried_again(fanout, source, config, tmp_path):
    port = fanout_tools.free_port()
    place = f"ssh://localhost:{port}{tmp_path / 'a'}"
    status, document = fanout(place, "--retries", 2, "--backoff", 0.01)
    [outcome] = document["destinations"]
    assert (status, outcome["attempts"], outcome["state"]) == (1, 3, "failed")
    assert "refused" in outcome["remark"]
    assert document["err"].count("attempt ") == 2


@pytest.mark.full
def test_machine_that_comes_back(spawn, fanout, source, tmp_path):
    daemon = Sshd(tmp_path / "sshd").start()
    daemon.stop()
    config = tmp_path / "config"
    config.write_text(daemon.client("late"))
    place = f"late:{tmp_path / 'a'}"
    words = [*CUP, source, place, "--retries", "50", "--backoff", "0.05"]
    child = spawn([*words, "--ssh-config", config], stderr=subprocess.PIPE, text=True)
    assert "attempt 2" in child.stderr.readline()
    with (tmp_path / "log").open("wb") as log:
        again = spawn(
            [fanout_tools.SSHD, "-D", "-e", "-f", daemon.home / "config"], stderr=log
        )
    child.communicate(timeout=40)
    again.terminate()
    again.wait()
    assert child.returncode == 0
    assert picture(tmp_path / "a") == picture(source)


@pytest.fixture
def slow(daemons, tmp_path):
    """Give a configuration with a machine that a little arrives at each second."""
    one = daemons[0]
    trickle = tmp_path / "trickle.py"
    trickle.write_text(TRICKLE)
    proxy = f"ProxyCommand {sys.executable} {trickle} {one.port}"
    file = tmp_path / "config"
    file.write_text(one.client("slow", proxy) + one.client("web1"))
    return file


TRICKLE = """
import socket, sys, threading, time
there = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
def back():
    while part := there.recv(65536):
        sys.stdout.buffer.write(part)
        sys.stdout.buffer.flush()
threading.Thread(target=back, daemon=True).start()
begun = 0
while part := sys.stdin.buffer.raw.read(4096):
    there.sendall(part)
    begun += len(part)
    if begun > 100_000:
        time.sleep(0.05)
"""


@pytest.mark.full
def test_interrupted_run_says_what_is_delivered(spawn, source, slow, tmp_path):
    places = [f"web1:{tmp_path / 'a'}", f"slow:{tmp_path / 'b'}"]
    words = [*CUP, source, *places, "--json", "--ssh-config", slow]
    child = spawn(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert "delivered web1:" in child.stderr.readline()
    wait_for(lambda: leftovers(tmp_path))
    child.send_signal(signal.SIGINT)
    out, _ = child.communicate(timeout=30)
    document = json.loads(out)
    assert (child.returncode, document["interrupted"]) == (130, True)
    assert states(document) == ["delivered", "interrupted"]
    assert not (tmp_path / "b").exists()
    wait_for(lambda: not leftovers(tmp_path))


@pytest.mark.full
def test_connection_that_is_cut_leaves_nothing_half(spawn, source, slow, tmp_path):
    words = [*CUP, source, f"slow:{tmp_path / 'b'}", "--ssh-config", slow]
    child = spawn(words, stderr=subprocess.DEVNULL, stdout=subprocess.PIPE)
    wait_for(lambda: leftovers(tmp_path))
    child.kill()
    child.communicate()
    assert not (tmp_path / "b").exists()
    status, _, err = cup_fanout(
        *(source, f"web1:{tmp_path / 'b'}", "--ssh-config", slow),
        *("--retries", 20, "--backoff", 0.2),
    )
    assert status == 0, err
    assert picture(tmp_path / "b") == picture(source)
    assert not leftovers(tmp_path)


@pytest.mark.full
@pytest.mark.parametrize("shell", ["sh", "bash", "tcsh", "fish"])
def test_command_means_the_same_to_every_login_shell(source, tmp_path, shell):
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    (place,) = find_places([f"h:{tmp_path}/it's $HOME! `x`"], "/nowhere")
    with tempfile.TemporaryFile() as archive:
        pack = pack_folder(str(source), [], archive)
        archive.seek(0)
        command = ssh_command(place, pack, "run", 60, ["ssh"])[-1]
        words = [shell, "-c", command]
        done = subprocess.run(words, stdin=archive, capture_output=True, check=False)
    assert done.stdout.endswith(b"cup-fanout done new\n"), done
    assert picture(place.path) == picture(source)


@pytest.mark.long
def test_two_hundred_destinations(fanout, source, slow, dead, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    (small / "file").write_text("content")
    hosts = tmp_path / "hosts"
    lines = ["# some good, some bad"]
    kinds = ["delivered"] * 4 + ["refused"] * 2 + ["failed"] * 2
    for n in range(0, 200, 8):
        lines += [
            *(str(tmp_path / f"local{n + m}") for m in range(3)),
            f"{('web1', 'web2', 'alias')[n % 3]}:{tmp_path / f'remote{n}'}",
            "/",
            str(small / f"{n}"),
            f"no-such-host-{n}.invalid:/srv/x",
            f"{'dead' if n < 24 else 'locked'}:{tmp_path / f'never{n}'}",
        ]
    hosts.write_text("\n".join(lines))
    status, document = fanout(
        *("--hosts", hosts, "--jobs", 12, "--timeout", 15, "--retries", 0),
        source=small,
    )
    failing = {
        one["destination"]: one["remark"]
        for one, kind in zip(document["destinations"], kinds * 25, strict=True)
        if one["state"] != kind
    }
    assert (status, failing) == (1, {})
    assert document["counts"]["delivered"] == 100
    for n in range(0, 200, 8):
        for name in (f"local{n}", f"local{n + 2}", f"remote{n}"):
            assert picture(tmp_path / name) == picture(small)
    assert not leftovers(tmp_path)
