"""`cup fanout` is killed at any time: no half folder under the final name, ever."""

import os
import random
import subprocess
import threading
import time
from pathlib import Path

import pytest
from fanout_tools import CUP, cup_fanout, leftovers, wait_for

FILES = 60


def make_version(folder, version):
    """Make a folder whose files all say the same."""
    folder.mkdir()
    for n in range(FILES):
        (folder / f"{n}").write_text(str(version) * 2000)
    return folder


def look(folder):
    """Return the version of a folder: 0 if there is none, None if it was replaced."""
    try:
        seat = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return 0
    try:
        names = [entry.name for entry in os.scandir(seat)]
        texts = set()
        for name in names:
            file = os.open(name, os.O_RDONLY, dir_fd=seat)
            texts.add(os.read(file, 10_000))
            os.close(file)
        if folder.stat().st_ino != os.fstat(seat).st_ino:
            return None
    except FileNotFoundError:  # what was read is moved aside, and being removed
        return None
    finally:
        os.close(seat)
    assert len(names) == FILES
    (text,) = texts
    assert len(text) == 2000
    return int(text[:1])


class Watcher(threading.Thread):
    """Looks at a folder all the time."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder
        self.over = False
        self.seen = set()
        self.wrong = None

    def run(self):
        while not self.over:
            try:
                self.seen.add(look(self.folder))
            except Exception as error:
                self.wrong = error
                return

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over = True
        self.join()


def kill_script(out):
    """Kill what works at the destination, with all that it has started."""
    for name in leftovers(out):
        try:
            pid = int((out / name / "run").read_text().split()[0])
            os.killpg(pid, 9)
        except (OSError, ValueError, IndexError):
            pass


def attack(rng, versions, out, span):
    """Start a delivery, and kill it after a while, one way or another."""
    child = subprocess.Popen(
        [*CUP, rng.choice(versions), out / "x"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    way = rng.randrange(3)
    if way:
        end = time.monotonic() + span
        while child.poll() is None and not leftovers(out) and time.monotonic() < end:
            time.sleep(0.001)
        time.sleep(rng.random() * span / 4)
    else:
        time.sleep(rng.random() * span)
    if way == 1:
        kill_script(out)
    child.kill()
    child.wait()


@pytest.mark.parametrize(
    "rounds",
    [
        pytest.param(10, marks=pytest.mark.full),
        pytest.param(300, marks=pytest.mark.long),
    ],
)
@pytest.mark.timeout(900)
def test_killed_at_random(tmp_path, rounds):
    rng = random.Random(rounds)
    out = tmp_path / "out"
    out.mkdir()
    versions = [make_version(tmp_path / str(n), n) for n in (1, 2)]
    began = time.monotonic()
    assert cup_fanout(versions[0], out / "x")[0] == 0
    span = time.monotonic() - began
    with Watcher(out / "x") as watcher:
        for _ in range(rounds):
            attack(rng, versions, out, span)
            assert look(out / "x") in {0, 1, 2, None}
        status, _, err = cup_fanout(
            versions[1], out / "x", "--retries", 50, "--backoff", 0.05
        )
        assert (status, look(out / "x")) == (0, 2), err
    assert watcher.wrong is None
    assert {1, 2} <= watcher.seen <= {0, 1, 2, None}
    assert leftovers(out) == []


def test_script_without_its_sender_tidies_up(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    version = make_version(tmp_path / "1", 1)
    slow = tmp_path / "slow"
    slow.mkdir()
    tar = Path("/bin/tar") if Path("/bin/tar").exists() else Path("/usr/bin/tar")
    (slow / "tar").write_text(f'#!/bin/sh\nsleep 0.3\n{tar} "$@"\n')
    (slow / "tar").chmod(0o755)
    child = subprocess.Popen(
        [*CUP, version, out / "x"],
        env={**os.environ, "PATH": f"{slow}:{os.environ['PATH']}"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: leftovers(out))
    child.kill()
    child.wait()
    wait_for(lambda: not leftovers(out))
    assert look(out / "x") == 0
