"""Random things happen to files while somebody waits; a brute-force oracle judges.

After every single step the oracle looks at the tree in the simplest way. If the
condition holds in the end, the wait must return soon after the last step; if it never
held, the wait must never return.
"""

import contextlib
import os
import random
import shutil
import tempfile
import threading
import time
from pathlib import Path

import pytest
from autowait_tools import COLOURS, Face

from cup.errors import ConditionTimeout
from cup.services.autowait import (
    FileComplete,
    FileExists,
    FileGone,
    RegexInFile,
    _core_inotify as inotify,
    all_of,
    any_of,
)

DIRECTORIES = ["a", "a/b", "c", "c/b"]
FILES = ["a/b/x", "c/b/x", "a/x", "a/b/y"]
PLACES = FILES + DIRECTORIES
WEIGHTS = [6, 1, 1, 2, 3, 4, 1, 1]  # most of it on the way to a/b/x
LATE = 10.0  # seconds after which a wake-up counts as lost, on a machine under load


def exists(path):
    return path.exists()


def has_line(path):
    try:
        return b"ready" in path.read_bytes() if path.is_file() else False
    except OSError:
        return False


class Schedule:
    """One tree, one condition, and what happens to the tree."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.root = Path(tempfile.mkdtemp(prefix="cup-fuzz-"))
        self.ever = False
        self.ended = threading.Event()
        self.end_time = 0.0
        self.condition, self.oracle = self.draw()
        for name in DIRECTORIES[: self.random.choice([0, 1, 2, 2, 2, 4])]:
            (self.root / name).mkdir()
        (self.root / "spare/b").mkdir(parents=True)
        (self.root / "spare/b/x").write_bytes(b"no\nready\n")
        for _ in range(self.random.randrange(8)):
            self.step()
        self.ever = self.oracle()

    def draw(self):
        """Draw a condition and the oracle that says whether it holds."""
        draw = self.random
        x, y = self.root / "a/b/x", self.root / draw.choice(FILES)
        kinds = {
            "exists": (FileExists(x), lambda: exists(x)),
            "file": (FileExists(x, kind="file"), x.is_file),
            "gone": (FileGone(x), lambda: not exists(x)),
            "not": (~FileExists(y), lambda: not exists(y)),
            "glob": (
                FileExists(self.root / "a/b", glob="[xy]"),
                lambda: exists(x) or exists(self.root / "a/b/y"),
            ),
            "below": (
                FileExists(self.root, glob="y", recursive=True),
                lambda: any(exists(path) for path in self.root.rglob("y")),
            ),
            "line": (RegexInFile(x, "ready"), lambda: has_line(x)),
            "any": (
                any_of(FileExists(x, kind="dir"), RegexInFile(y, "ready")),
                lambda: x.is_dir() or has_line(y),
            ),
            "all": (
                all_of(FileExists(x), FileGone(y)),
                lambda: exists(x) and not exists(y),
            ),
            "complete": (FileComplete(x, quiet=0), x.is_file),
        }
        self.kind = draw.choice([*kinds])
        return kinds[self.kind]

    def step(self):
        """Do one thing, in one system call."""
        draw = self.random
        path, other = (self.root / name for name in draw.choices(PLACES, WEIGHTS, k=2))
        content = draw.choice([b"no\n", b"ready\n", b"rea"])
        actions = [
            path.mkdir,
            path.touch,
            path.unlink,
            path.rmdir,
            lambda: path.rename(other),
            lambda: path.rename(other),
            lambda: path.symlink_to(other),
            lambda: path.symlink_to(os.path.relpath(other, path.parent)),
            lambda: os.link(path, other),
            lambda: os.truncate(path, draw.choice([0, 2])),
            lambda: self.append(path, content),
            lambda: self.append(path, content),
            (self.root / "a").mkdir,
            (self.root / "a/b").mkdir,
        ]
        with contextlib.suppress(OSError):
            draw.choice(actions)()

    def aim(self):
        """Bring about what most conditions wait for, in one of many ways."""
        draw, root = self.random, self.root
        a, b, x = root / "a", root / "a/b", root / "a/b/x"
        spare = root / "spare"  # a tree that is made before it is put into place
        ways = [
            [a.mkdir, b.mkdir, x.touch, lambda: self.append(x, b"ready\n")],
            [lambda: a.rename(root / "old"), lambda: spare.rename(a)],
            [lambda: b.rename(root / "old"), lambda: (spare / "b").rename(b)],
            [lambda: (spare / "b/x").rename(x)],
            [x.unlink, lambda: os.link(spare / "b/x", x)],
            [a.unlink, lambda: a.symlink_to("spare")],
            [lambda: a.rename(root / "old"), lambda: a.symlink_to(spare)],
            [x.unlink, lambda: x.symlink_to("../../spare/b/x")],
            [lambda: x.rename(root / "rotated"), lambda: (spare / "b/x").rename(x)],
            [lambda: os.truncate(x, 0), lambda: self.append(x, b"rea\nready\n")],
            [lambda: self.append(x, b"rea"), lambda: self.append(x, b"dy\n")],
            [x.unlink],
            [lambda: a.rename(root / "old")],
            [x.rmdir, b.rmdir, a.rmdir],
        ]
        for action in draw.choice(ways):
            if draw.random() < 0.8:
                time.sleep(draw.random() * 0.004)
            with contextlib.suppress(OSError):
                action()
            self.ever |= self.oracle()

    def append(self, path, content):
        with path.open("ab", buffering=0) as file:
            file.write(content)

    def run(self):
        """Do things, and note whether the condition held after any of them."""
        draw = self.random
        time.sleep(draw.random() * 0.006)
        for _ in range(draw.choice([0, 0, 1, 2, 3, 5, 25])):
            if draw.random() < 0.4:
                time.sleep(draw.random() * 0.002)
            self.step()
            self.ever |= self.oracle()
        if draw.random() < 0.8:
            self.aim()
        self.end_time = time.monotonic()
        if not self.oracle():
            (self.root / "stop").touch()

    def judge(self, face):
        """Wait while things happen, and say what went wrong."""
        stopped = FileExists(self.root / "stop")
        actor = threading.Thread(target=self.run)
        actor.start()
        late = ""
        try:
            won = face.wait(any_of(self.condition, stopped), LATE)
        except (ConditionTimeout, IsADirectoryError) as error:
            late, won = str(error), None
        returned = time.monotonic()
        actor.join()
        shutil.rmtree(self.root)
        if won is None:
            return "" if "directory" in late else f"lost: {late}"
        if returned - self.end_time > LATE / 2:  # found by the last look alone
            return f"lost: {self.condition}"
        # A line may have been read that stands nowhere any more.
        if won.index == 0 and not self.ever and self.kind not in {"line", "any"}:
            return f"false: {self.condition}"
        return ""


def play(colour, seeds, monkeypatch, lossy=False):
    if lossy:
        lose_events(monkeypatch)
    face = Face(colour)
    wrong = {seed: fault for seed in seeds if (fault := Schedule(seed).judge(face))}
    assert not wrong


def lose_events(monkeypatch):
    """Make the queue overflow now and then: the kernel says that it lost events."""
    draw = random.Random(7)
    really = inotify.read

    def read(queue):
        events = [*really(queue)]
        if draw.random() < 0.3:
            return [inotify.Record(-1, inotify.OVERFLOW, b"")]
        return events

    monkeypatch.setattr(inotify, "read", read)


@pytest.mark.parametrize("colour", COLOURS)
def test_some_schedules(colour, monkeypatch):
    play(colour, range(25), monkeypatch)


@pytest.mark.full
@pytest.mark.parametrize("lossy", [False, True], ids=["", "overflow"])
@pytest.mark.parametrize("colour", COLOURS)
def test_more_schedules(colour, lossy, monkeypatch):
    play(colour, range(1000, 1050), monkeypatch, lossy)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("lossy", [False, True], ids=["", "overflow"])
@pytest.mark.parametrize("colour", COLOURS)
def test_many_schedules(colour, lossy, monkeypatch):
    play(colour, range(10_000, 12_500), monkeypatch, lossy)
