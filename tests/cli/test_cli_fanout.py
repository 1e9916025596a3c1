"""`cup fanout` to folders of this machine: what is packed, checked, refused, shown."""

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from io import StringIO
from pathlib import Path

import pytest
from fanout_tools import (
    CUP,
    cup_fanout,
    leftovers,
    make_tree,
    picture,
    wait_for,
)
from rich.console import Console

from cup.cli import _fanout, _fanout_show, main
from cup.cli._fanout_outcome import Outcome, Retry, State
from cup.cli._fanout_pack import pack_folder
from cup.cli._fanout_places import Place, find_places, read_hosts
from cup.cli._fanout_script import local_command
from cup.cli._fanout_show import Lines, make_show
from cup.cli._fanout_show_rich import Bars
from cup.errors import InvalidValue
from cup.services.serializer import JSON, Log

ROOT = os.getuid() == 0


@pytest.fixture
def source(tmp_path):
    return make_tree(tmp_path / "tree")


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def fanout(capfd):
    """Run the command here; give its exit status, and its JSON document if asked."""

    def run(*args):
        status = main(["fanout", *map(str, args)])
        printed, err = capfd.readouterr()
        if "--json" not in args:
            return status, printed, err
        return status, json.loads(printed), err

    return run


def states(document):
    return [one["state"] for one in document["destinations"]]


def remarks(document):
    return [one["remark"] for one in document["destinations"]]


def packed(source, *excludes):
    """Pack a folder; give what was packed, and the archive."""
    with tempfile.TemporaryFile() as file:
        pack = pack_folder(str(source), excludes, file)
        file.seek(0)
        return pack, file.read()


# -- packing ---------------------------------------------------------------------------


def test_everything_is_kept(fanout, source, out):
    status, printed, err = fanout(source, out / "one", out / "deep" / "er" / "two")
    assert status == 0, err
    assert picture(out / "one") == picture(out / "deep/er/two") == picture(source)
    assert leftovers(out) == []
    lines = printed.splitlines()
    assert lines[0].split() == ["destination", "state", "attempts", "seconds", "remark"]
    assert lines[1].split()[:3] == [str(out / "one"), "delivered", "1"]
    assert lines[-1].startswith(
        "2 delivered of 2 (12 files, 4 folders, 2 links, 0.2 MB)"
    )
    assert "[2/2] delivered " in err


def test_same_folder_makes_the_same_archive(source, tmp_path):
    first, archive = packed(source)
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-a", source, copy], check=True)
    second, again = packed(copy)
    assert (first.content, archive) == (second.content, again)
    os.utime(copy / "a" / "x", ns=(0, 10**18 + 1))
    assert packed(copy)[0].content != first.content


@pytest.mark.parametrize(
    ("globs", "gone"),
    [
        (["*.tmp"], ["a/b.tmp", "a/deep/b.tmp", "b.tmp"]),
        (["a/*.tmp"], ["a/b.tmp", "a/deep/b.tmp"]),
        (["/a/deep/"], ["a/deep"]),
        (["deep", "b.tmp"], ["a/b.tmp", "a/deep", "b.tmp"]),
    ],
)
def test_exclude(fanout, tmp_path, out, globs, gone):
    source = tmp_path / "s"
    (source / "a" / "deep").mkdir(parents=True)
    for name in ("keep", "b.tmp", "a/b.tmp", "a/deep/b.tmp"):
        (source / name).write_text(name)
    options = [word for glob in globs for word in ("--exclude", glob)]
    assert fanout(source, out / "x", *options)[0] == 0
    for name in gone:
        shutil.rmtree(source / name) if name.endswith("deep") else (
            source / name
        ).unlink()
    assert {*picture(out / "x")[0]} == {*picture(source)[0]}


def test_special_files_are_refused(fanout, source, out, tmp_path):
    os.mkfifo(source / "a" / "pipe")
    status, printed, err = fanout(source, out / "x")
    assert (status, printed, leftovers(out), (out / "x").exists()) == (2, "", [], False)
    assert err.startswith(f"cup fanout: {source}/a/pipe is a named pipe")
    assert fanout(source, out / "x", "--exclude", "a/pipe")[0] == 0
    (source / "a" / "pipe").unlink()
    here = Path.cwd()
    os.chdir(source)  # the name of a socket may not be long
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("sock")
    os.chdir(here)
    assert "sock is a socket" in fanout(source, out / "x")[2]


def test_file_that_changes_while_it_is_packed(monkeypatch, source):
    read = Path.open

    def changing(self, *args):
        if self.name == "big":
            os.truncate(self, 100)
        return read(self, *args)

    monkeypatch.setattr(Path, "open", changing)
    with pytest.raises(InvalidValue, match="big changed while it was packed"):
        packed(source)


FULL_SIZES = [pytest.param(size, marks=pytest.mark.full) for size in (1, 256, 65_536)]


@pytest.mark.parametrize("size", [0, 255, 70_001, *FULL_SIZES])
def test_checksums_are_those_of_the_tools(tmp_path, size):
    source = tmp_path / "s"
    source.mkdir()
    (source / "f").write_bytes(os.urandom(size))
    place = find_places([str(tmp_path / "x")], "/nowhere")[0]
    pack, archive = packed(source)
    words = local_command(place, pack, "run", 60)
    for tools in (("sha256sum",), ("cksum",)):
        done = deliver(words, archive, tmp_path, *tools)
        assert done.stdout.splitlines()[-1].startswith(b"cup-fanout done"), done


def deliver(words, archive, tmp_path, *sums, **options):
    """Run the script with few tools; what is missing must not be missed."""
    tools = tmp_path / "-".join(["bin", *sums])
    tools.mkdir(exist_ok=True)
    needed = "sh tar find xargs cmp awk mv rm mkdir cut date ls cat tr wc chmod sync"
    for tool in (*needed.split(), *sums):
        if not (tools / tool).is_symlink():
            (tools / tool).symlink_to(shutil.which(tool))
    return subprocess.run(
        words,
        input=archive,
        capture_output=True,
        env={"PATH": str(tools), "HOME": "/nowhere"},
        check=False,
        **options,
    )


@pytest.mark.parametrize(
    "sums",
    ["sha256sum", pytest.param("shasum", marks=pytest.mark.full), "cksum"],
)
def test_damage_is_found(source, tmp_path, out, sums):
    if shutil.which(sums) is None:
        pytest.skip(f"needs {sums}")
    pack, archive = packed(source)
    (place,) = find_places([str(out / "x")], "/nowhere")
    words = local_command(place, pack, "run", 60)
    tools = [sums] if sums != "shasum" else ["shasum", "perl"]
    good = deliver(words, archive, tmp_path, *tools)
    assert good.stdout.splitlines()[-1] == b"cup-fanout done new", good
    before = picture(out / "x")
    assert before == picture(source)

    for content in (b"hello", b"q", b"umlauts"):  # of files with plain and odd names
        assert archive.count(content) >= 1
        at = archive.index(content)
        bad = archive[:at] + bytes([archive[at] ^ 1]) + archive[at + 1 :]
        done = deliver(words, bad, tmp_path, *tools)
        assert (done.returncode, b"is not what was sent" in done.stdout) == (43, True)
    for cut in (0, 1024, len(archive) // 2, archive.index(b"modes\0")):
        done = deliver(words, archive[:cut], tmp_path, *tools)
        assert done.returncode in {42, 43}
    assert picture(out / "x") == before
    assert leftovers(out) == []


def test_nothing_changes_when_the_sender_is_gone(source, out):
    pack, archive = packed(source)
    (place,) = find_places([str(out / "x")], "/nowhere")
    words = local_command(place, pack, "run", 60)
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        words, input=archive, stdout=write, stderr=subprocess.DEVNULL, check=False
    )
    os.close(write)
    assert (done.returncode, [*out.iterdir()]) == (44, [])


@pytest.mark.full
@pytest.mark.parametrize("tool", ["bsdtar", "busybox"])
def test_other_tools_than_those_of_gnu(source, tmp_path, out, tool):
    if shutil.which(tool) is None:
        pytest.skip(f"needs {tool}")
    tools = tmp_path / "tools"
    tools.mkdir()
    path = f"{tools}:{os.environ['PATH']}"
    names = ["tar"]
    if tool == "busybox":
        words = ["busybox", "--list"]
        names = subprocess.run(words, capture_output=True, text=True, check=True)
        names = names.stdout.split()
        path = str(tools)
    for name in names:
        (tools / name).symlink_to(shutil.which(tool))
    pack, archive = packed(source)
    (place,) = find_places([str(out / "x")], "/nowhere")
    words = local_command(place, pack, "run", 60)
    subprocess.run(
        [shutil.which("sh", path=path), *words[1:]],
        input=archive,
        env={"PATH": path},
        capture_output=True,
        check=True,
    )
    there, here = picture(out / "x"), picture(source)
    if tool == "busybox":  # it keeps the whole seconds of files
        there, here = (
            {
                name: (mode, content, content is not None and mtime // 10**9)
                for name, (mode, mtime, content) in seen.items()
                if not stat.S_ISLNK(mode)
            }
            for seen, _ in (there, here)
        )
    assert there == here


def test_home_of_who_logs_in_is_refused(source, out):
    pack, archive = packed(source)
    (place,) = find_places([str(out / "x")], "/nowhere")
    words = local_command(place, pack, "run", 60)
    for home in (out / "x", out / "x" / "below"):
        home.mkdir()
        done = subprocess.run(
            words,
            input=archive,
            env={**os.environ, "HOME": str(home)},
            capture_output=True,
            check=False,
        )
        assert (done.returncode, b"home directory" in done.stdout) == (40, True)
    assert [*(out / "x").iterdir()] == [out / "x" / "below"]


@pytest.mark.skipif(not ROOT, reason="needs root, to become somebody else")
def test_folder_that_its_owner_may_not_write_to(source, tmp_path):
    source.chmod(0o555)
    pack, archive = packed(source)
    with tempfile.TemporaryDirectory() as home:
        os.chown(home, 65534, 65534)
        place = find_places([f"{home}/x"], "/nowhere")[0]
        words = local_command(place, pack, "run", 60)
        done = [
            subprocess.run(
                words,
                input=archive,
                capture_output=True,
                user=65534,
                cwd="/",
                check=False,
            ).stdout.splitlines()[-1]
            for _ in range(2)
        ]
        assert done == [b"cup-fanout done new", b"cup-fanout done replaced"]
        assert picture(f"{home}/x") == picture(source)
        assert leftovers(home) == []


# -- destinations ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "user", "host", "port", "path"),
    [
        ("web:/srv/x", "", "web", 0, "/srv/x"),
        ("me@web:srv//./x/", "me", "web", 0, "./srv/x"),
        ("web:~/x", "", "web", 0, "./x"),
        ("me@[::1]:/x/y", "me", "::1", 0, "/x/y"),
        ("ssh://me@web:2222/srv/x", "me", "web", 2222, "/srv/x"),
        ("ssh://web/~/x", "", "web", 0, "./x"),
        ("ssh://[::1]:22/srv/a%20b", "", "::1", 22, "/srv/a b"),
        ("web:-x", "", "web", 0, "./-x"),
        ("web:/a:b", "", "web", 0, "/a:b"),
        ("/a:b", "", "", 0, "/a:b"),
        ("./a:b", "", "", 0, os.path.realpath("./a:b")),
    ],
)
def test_how_destinations_are_written(text, user, host, port, path):
    (place,) = find_places([text], "/nowhere")
    found = (place.user, place.host, place.port, place.path, place.problem)
    assert found == (user, host, port, path, "")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("/", "system"),
        ("//", "system"),
        ("/usr/", "system"),
        ("~", "home"),
        ("~/..", "home"),
        (".", "current"),
        ("..", "current"),
        ("", "no path"),
        ("~no-such-user-here/x", "home of that user"),
        ("web:", "no folder"),
        ("web:/", "no folder"),
        ("web:~", "no folder"),
        ("web:.", "no folder"),
        ("web:/srv/..", "no folder"),
        ("web:/etc/", "system"),
        ("web:~me/x", "another user"),
        (":/x", "no name of a host"),
        ("-oProxyCommand=evil:/x", "no name of a host"),
        ("-l@web:/x", "no name of a user"),
        ("@web:/x", "no name of a user"),
        ("ssh://web", "no address"),
        ("ssh://web:99999/x", "no port"),
        ("ssh://web:/x", "no port"),
        ("ssh://me:secret@web/x", "password"),
        ("ssh://-F/x", "no name of a host"),
    ],
)
def test_destinations_that_are_refused(text, why, monkeypatch, tmp_path):
    home = tmp_path / "home" / "me"
    home.mkdir(parents=True)
    current = tmp_path / "current" / "directory"
    current.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(current)
    (place,) = find_places([text], "/nowhere")
    assert why in place.problem


def test_destinations_that_clash():
    texts = ["/x/a", "/x/a/", "/x/a/b", "/x", "h:/x/a", "h:a", "me@h:a", "g@h:/x/a"]
    places = find_places(texts, "/nowhere", ["/no/ssh"])
    assert [place.problem for place in places] == [
        "",
        "it is the same folder as /x/a",
        "it is in /x/a, another destination",
        "it holds /x/a, another destination",
        "",
        "",
        "",
        "it is the same folder as h:/x/a",
    ]


def test_bad_destinations_harm_no_other(fanout, source, out):
    (out / "file").write_text("here")
    (out / "link").symlink_to(out / "real")
    (out / "real").mkdir()
    (out / "loop").symlink_to(out / "loop")
    args = [source, source, source / "a", source.parent, out / "file", out / "real"]
    args += [out / "link", "/", out / "good", out / "file" / "below", out / "loop"]
    status, document, _ = fanout(*args, "--json", "--retries", 0)
    assert status == 1
    assert states(document)[:4] == ["refused"] * 4
    assert states(document)[4:8] == ["delivered", "refused", "refused", "delivered"]
    assert {*states(document)[8:]} <= {"failed", "refused"}
    assert "same folder" in remarks(document)[5]
    assert picture(out / "good") == picture(out / "real") == picture(source)
    assert leftovers(out) == []


def test_hosts_file(fanout, source, out, monkeypatch):
    hosts = out / "hosts"
    hosts.write_text(f"# where to\n\n  {out / 'a'}  \n{out / 'b c'}\n")
    assert read_hosts(hosts.read_text().splitlines()) == [f"{out}/a", f"{out}/b c"]
    monkeypatch.setattr(sys, "stdin", StringIO(f"{out}/d\n"))
    assert fanout(source, "--hosts", hosts, "--hosts", "-")[0] == 0
    assert sorted(path.name for path in out.iterdir()) == ["a", "b c", "d", "hosts"]


# -- arrival ---------------------------------------------------------------------------


def test_what_a_killed_run_has_left_is_put_right(fanout, source, out):
    (out / "x").mkdir()
    (out / "x" / "kept").write_text("kept")
    (out / ".x.cup-fanout-1").mkdir()
    (out / ".x.cup-fanout-1" / "run").write_text("999999999 - 9999999999\n")
    (out / ".x.cup-fanout-2.old").mkdir()
    (out / ".y.cup-fanout-3.old").mkdir()  # of another destination
    assert fanout(source, out / "x")[0] == 0
    assert leftovers(out) == [".y.cup-fanout-3.old"]

    # Killed between the two renames: what was moved aside comes back.
    shutil.rmtree(out / ".y.cup-fanout-3.old")
    (out / "x").rename(out / ".x.cup-fanout-4.old")
    pack, archive = packed(source)
    (place,) = find_places([str(out / "x")], "/nowhere")
    words = local_command(place, pack, "run", 60)
    subprocess.run(words, input=archive[:5000], capture_output=True, check=False)
    assert (out / "x" / "a" / "x").read_text() == "hello"
    assert leftovers(out) == []


def test_two_runs_do_not_meet(fanout, source, out):
    busy = out / ".x.cup-fanout-1"
    busy.mkdir()
    started = Path(f"/proc/{os.getpid()}/stat")
    begun = started.read_text().split()[21] if started.exists() else "-"
    (busy / "run").write_text(f"{os.getpid()} {begun} 9999999999\n")
    status, document, _ = fanout(source, out / "x", "--json", "--retries", 0)
    assert (status, states(document)) == (1, ["failed"])
    assert f"another run is at it (process {os.getpid()} there)" in remarks(document)[0]
    assert leftovers(out) == [busy.name]


@pytest.mark.skipif(not ROOT, reason="needs root, to mount a small disk")
def test_full_disk_at_one_of_them(fanout, source, out):
    small = out / "small"
    small.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", small]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        (small / "x").mkdir()
        (small / "x" / "old").write_text("old")
        args = [source, out / "a", small / "x", out / "b", "--json", "--retries", "0"]
        status, document, _ = fanout(*args)
        assert (status, states(document)) == (1, ["delivered", "failed", "delivered"])
        assert "No space left" in remarks(document)[1]
        assert (small / "x" / "old").read_text() == "old"
        assert leftovers(small) == []
        assert picture(out / "a") == picture(out / "b") == picture(source)
    finally:
        subprocess.run(["umount", small], check=True)


# -- journal ---------------------------------------------------------------------------


def test_resume_skips_what_is_there(fanout, source, out):
    (out / "b").write_text("in the way")
    args = [source, out / "a", out / "b", "--journal", out / "log", "--json"]
    status, document, _ = fanout(*args)
    assert (status, states(document)) == (1, ["delivered", "refused"])
    (out / "b").unlink()
    status, document, _ = fanout(*args, "--resume", "--dry-run")
    assert (status, states(document)) == (0, ["skipped", "planned"])
    status, document, _ = fanout(*args, "--resume")
    assert (status, states(document)) == (0, ["skipped", "delivered"])
    assert states(fanout(*args, "--resume")[1]) == ["skipped", "skipped"]

    (out / "a").rename(out / "c")  # what is gone is sent again
    assert states(fanout(*args, "--resume")[1]) == ["delivered", "skipped"]
    (source / "new").write_text("new")
    assert states(fanout(*args, "--resume")[1]) == ["delivered", "delivered"]
    (source / "new").unlink()
    os.utime(source, ns=(0, 0))
    assert states(fanout(*args, "--resume")[1]) == ["delivered", "delivered"]
    assert states(fanout(*args)[1]) == ["delivered", "delivered"]
    with Log.open(out / "log", codec=JSON) as log:
        notes = [record.payload for record in log.records()]
    assert len(notes) == 9
    assert notes[0].keys() == {"to", "content", "at"}


def test_journal_of_another_run(fanout, source, out):
    with Log.open(out / "log"):
        status, printed, err = fanout(source, out / "a", "--journal", out / "log")
    assert (status, printed, f"process {os.getpid()}" in err) == (2, "", True)
    with Log.open(out / "log2", codec=JSON) as log:
        log.append(["of a later version"])
    assert fanout(source, out / "a", "--journal", out / "log2", "--resume")[0] == 0


def test_journal_that_fails_is_told(fanout, source, out, monkeypatch):
    from cup.cli._fanout_journal import Journal
    from cup.errors import WriteFailed

    def fail(*_):
        raise WriteFailed("no room")

    monkeypatch.setattr(Journal, "note", fail)
    args = [source, out / "a", "--journal", out / "log", "--json"]
    status, document, _ = fanout(*args)
    assert (status, states(document)) == (0, ["delivered"])
    assert remarks(document) == ["delivered, but the journal does not say so: no room"]


# -- interrupts, time limits -----------------------------------------------------------


@pytest.fixture
def slow_path(tmp_path):
    """Give a PATH whose `tar` takes a while, and says where it is."""
    folder = tmp_path / "slow"
    folder.mkdir()
    tar = folder / "tar"
    tar.write_text(f'#!/bin/sh\n{shutil.which("tar")} "$@"\nsleep ${{SLOW:-600}}\n')
    tar.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_time_limit(fanout, source, out, slow_path, monkeypatch):
    monkeypatch.setenv("PATH", slow_path)
    began = time.monotonic()
    args = [source, out / "a", out / "b", "--timeout", 0.5, "--json"]
    status, document, err = fanout(*args, "--retries", 1, "--backoff", 0)
    assert time.monotonic() - began < 15
    assert (status, states(document)) == (1, ["failed", "failed"])
    assert remarks(document) == ["it was not done within 0.5 s (--timeout)"] * 2
    assert err.count("; attempt 2 in 0.0 s") == 2
    assert [*out.iterdir()] == []


@pytest.mark.parametrize(
    "sign", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.full)]
)
def test_interrupted(spawn, source, out, slow_path, sign):
    (out / "a").mkdir()
    words = [*CUP, source, out / "a", out / "b", out / "c", "--json", "--jobs", "2"]
    words += ["--backoff", "100"]  # there is no other attempt
    child = spawn(
        words,
        env={**os.environ, "PATH": slow_path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: len(leftovers(out)) == 2)
    child.send_signal(sign)
    printed, err = child.communicate(timeout=30)
    document = json.loads(printed)
    assert (child.returncode, states(document)) == (130, ["interrupted"] * 3)
    assert (document["interrupted"], document["ok"]) == (True, False)
    assert err.endswith("cup fanout: interrupted\n")
    assert [path.name for path in out.iterdir()] == ["a"]
    assert [*(out / "a").iterdir()] == []


@pytest.mark.full
def test_second_interrupt_does_not_wait(spawn, source, out, tmp_path):
    folder = tmp_path / "stubborn"
    folder.mkdir()
    (folder / "tar").write_text(
        "#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 600; done\n"
    )
    (folder / "tar").chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    child = spawn(
        [*CUP, source, out / "a"],
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: leftovers(out))
    time.sleep(0.1)
    began = time.monotonic()
    for _ in range(3):
        child.send_signal(signal.SIGINT)
        time.sleep(0.3)
    child.communicate(timeout=30)
    assert (child.returncode, (out / "a").exists()) == (130, False)
    assert time.monotonic() - began < 4.5  # the grace is 5 s
    assert cup_fanout(source, out / "a")[0] == 0
    assert leftovers(out) == []


@pytest.mark.full
def test_ignored_signals_stay_ignored(spawn, source, out, slow_path):
    script = 'trap "" INT; exec "$@"'
    child = spawn(
        ["sh", "-c", script, "sh", *CUP, source, out / "a"],
        env={**os.environ, "PATH": slow_path, "SLOW": "0.5"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: leftovers(out))
    child.send_signal(signal.SIGINT)
    assert child.wait(timeout=30) == 0


def test_interrupted_while_packing(fanout, source, out, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(_fanout, "pack_folder", interrupted)
    status, printed, err = fanout(source, out / "a")
    assert (status, printed) == (130, "")
    assert err == "cup fanout: interrupted: nothing was delivered\n"


def test_any_thread_may_run_it(source, out):
    thread = threading.Thread(target=main, args=(["fanout", f"{source}", f"{out}/a"],))
    thread.start()
    thread.join()
    assert picture(out / "a") == picture(source)


# -- what goes wrong here --------------------------------------------------------------


@pytest.mark.parametrize(
    "ending",
    [
        ("exit 7", "it ended early, with status 7"),
        ("kill -9 $$", "it was ended by signal 9"),
        ("echo; echo first; echo last; exit 1", "last"),
    ],
)
def test_attempt_that_ends_without_a_word(fanout, source, out, monkeypatch, ending):
    body, why = ending
    tools = out / "tools"
    tools.mkdir()
    (tools / "sh").write_text(f"#!/bin/sh\n{body}\n")
    (tools / "sh").chmod(0o755)
    monkeypatch.setenv("PATH", str(tools))
    args = [source, out / "a", "--json", "--retries", 1, "--backoff", 0]
    status, document, _ = fanout(*args)
    assert (status, states(document), remarks(document)) == (1, ["failed"], [why])
    assert document["destinations"][0]["attempts"] == 2


def test_process_that_cannot_be_started(fanout, source, out, monkeypatch):
    start = subprocess.Popen

    def refuse(words, **options):
        if "first" in words:
            raise OSError(24, "Too many open files")
        return start(words, **options)

    monkeypatch.setattr(subprocess, "Popen", refuse)
    args = [source, out / "first", out / "second", "--json", "--retries", 0]
    status, document, _ = fanout(*args)
    assert (status, states(document)) == (1, ["failed", "delivered"])
    assert "Too many open files" in remarks(document)[0]


def test_tools_that_are_missing_here(fanout, source, out, monkeypatch):
    monkeypatch.setenv("PATH", str(out))
    status, document, _ = fanout(source, out / "a", "h:/srv/x", "--json")
    assert (status, states(document)) == (1, ["failed", "failed"])
    assert remarks(document) == [
        "sh is not installed here",
        "ssh is not installed here",
    ]


# -- what is shown, and usage ----------------------------------------------------------


def test_nobody_reads_what_is_printed(source, out):
    command = f"{' '.join(CUP)} {source} {out}/a {out}/b 2>&1 | true"
    subprocess.run(["sh", "-c", command], check=True, timeout=60)
    read, write = os.pipe()
    os.close(read)
    words = [*CUP, source, out / "c"]
    done = subprocess.run(words, stdout=write, stderr=write, check=False)
    os.close(write)
    assert done.returncode == 1
    assert picture(out / "c") == picture(source)


def test_dry_run_sends_nothing(fanout, source, out):
    status, document, _ = fanout(source, out / "x/y", "/", "--dry-run", "--json")
    assert (status, states(document)) == (1, ["planned", "refused"])
    assert (document["files"], document["dry_run"]) == (12, True)
    assert [*out.iterdir()] == []


@pytest.mark.parametrize(
    ("args", "word"),
    [
        ([], "no destination"),
        (["x", "--jobs", "0"], "--jobs is 0"),
        (["x", "--timeout", "nan"], "--timeout is nan"),
        (["x", "--timeout", "0"], "--timeout is 0"),
        (["x", "--retries", "-1"], "--retries is -1"),
        (["x", "--backoff", "inf"], "--backoff is inf"),
        (["x", "--resume"], "--journal"),
        (["x", "--ssh-config", "/no/file"], "no file"),
        (["--hosts", "/no/file"], "/no/file"),
    ],
)
def test_wrong_use(fanout, source, args, word):
    status, printed, err = fanout(source, *args)
    assert (status, printed, word in err) == (2, "", True)


def test_missing_source(fanout, tmp_path):
    (tmp_path / "file").write_text("")
    assert "does not exist" in fanout(tmp_path / "none", tmp_path / "x")[2]
    assert "is empty" in fanout("", tmp_path / "x")[2]
    status, _, err = fanout(tmp_path / "file", tmp_path / "x")
    assert (status, err) == (
        2,
        f"cup fanout: the source {tmp_path}/file is no folder\n",
    )


def test_help_has_examples(fanout):
    status, printed, _ = fanout("--help")
    assert (status, "examples:" in printed, "exit status:" in printed) == (
        0,
        True,
        True,
    )


def test_names_cannot_write_to_the_terminal(fanout, source, out):
    status, printed, err = fanout(source, f"{out}/\x1b[2J")
    assert (status, "\x1b" in printed + err) == (0, False)
    assert "\\x1b[2J" in printed


class FakeCourier:
    size = 1000

    def __init__(self, text, sent):
        self.place = Place(text=text)
        self.sent = sent
        self.is_sent = sent == self.size


OUTCOMES = [
    Outcome(place=Place(text="h:/a"), state=State.DELIVERED, seconds=1.5),
    Outcome(place=Place(text="h:/b"), state=State.FAILED, reason="a [bold]reason"),
]
RETRY = Retry(place=Place(text="h:/c"), attempt=2, delay=0.5, reason="no answer")
COURIERS = [FakeCourier("h:/d", 250), *(FakeCourier(f"h:/{n}", 1000) for n in range(9))]


def test_lines(capsys):
    with Lines(5, every=0) as show:
        show.ended(OUTCOMES[0], 1)
        show.ended(OUTCOMES[1], 2)
        show.retry(RETRY)
        show.look(COURIERS)
        show.look([])
    ended, failed, retried, under_way = capsys.readouterr().err.splitlines()
    assert ended == "[1/5] delivered h:/a in 1.5 s"
    assert failed == "[2/5] failed h:/b: a [bold]reason"
    assert retried == "h:/c: no answer; attempt 2 in 0.5 s"
    assert under_way.startswith("[2/5] under way: h:/d 25 %, h:/0 checking, h:/1 ")
    assert under_way.endswith(" checking, and 6 more")


def test_bars_on_a_terminal(monkeypatch, fanout, source, out):
    monkeypatch.setattr(_fanout_show.sys.stderr, "isatty", lambda: True, raising=False)
    assert isinstance(make_show(1)._show, Bars)
    screen = StringIO()
    with Bars(5, Console(file=screen, force_terminal=True, width=100)) as show:
        show.look(COURIERS)
        show.ended(OUTCOMES[0], 1)
        show.ended(OUTCOMES[1], 2)
        show.retry(RETRY)
        show.look(COURIERS[:1])
    shown = screen.getvalue()
    assert "25 %" in shown
    assert "failed h:/b: a [bold]reason" in shown
    assert "attempt 2 in 0.5 s" in shown


def test_table_on_a_terminal(monkeypatch, fanout, source, out):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    status, printed, _ = fanout(source, out / "a", "/")
    assert (status, "┃" in printed) == (1, True)
