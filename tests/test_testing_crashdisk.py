"""`cup.testing.CrashDisk`: what it does, and that it finds what is wrong with a log."""

import contextlib
import errno
import inspect
import itertools
import os
import sys
import threading
import time
import zlib

import pytest
from hypothesis import given, settings, strategies as st

from cup._core.disk import OS_DISK
from cup._testing_crashdisk_fates import KINDS
from cup.errors import BlockingInLoopWarning, InvalidValue
from cup.testing import CrashDisk, CrashState

EIO, ENOSPC = errno.EIO, errno.ENOSPC
ALL_BUT_KILL = KINDS[1:]


def filled(path="/f", content=b"old", **options):
    """Give a disk with one durable file, and that file."""
    disk = CrashDisk({path: content}, **options)
    return disk, disk.open(path, write=True)


def left(disk, *kinds, variants=1, last=True):
    """Give what may be left of the files, as sets of contents."""
    points = {len(disk.trace)} if last else None
    return [
        dict(state.files)
        for state in disk.crash_states(
            kinds=kinds or ["kept"], points=points, variants=variants
        )
    ]


# -- a log, and the faults that are planted in it --------------------------------------


class NaiveLog:
    """A log of lines; what a careful author would write."""

    frame = staticmethod(lambda line: b"%08x" % zlib.crc32(line) + b" " + line + b"\n")

    def __init__(self, disk):
        self.disk = disk
        if not disk.exists("/log"):
            disk.mkdir("/log")
            self.sync_dir("/")
        self.file = self.disk.open("/log/lines", create=True, write=True)
        self.sync_dir("/log")
        content = self.file.pread(self.file.size(), 0)
        self.lines = [*self.read(content)]
        self.end = sum(len(self.frame(line)) for line in self.lines)
        self.recover(content)

    def read(self, content):
        for frame in content.split(b"\n"):
            line = frame[9:]
            if frame + b"\n" != self.frame(line):
                return
            yield line

    def recover(self, content):
        self.file.truncate(self.end)
        self.file.pwrite(content[: self.end], 0)  # dirty again: it may be in limbo
        self.file.sync()

    def sync(self):
        self.file.sync()

    def sync_dir(self, path):
        self.disk.sync_dir(path)

    def add(self, line):
        frame = self.frame(line)
        self.end += self.file.pwrite(frame, self.end)
        self.sync()
        self.lines.append(line)


class NoSync(NaiveLog):
    def sync(self):
        pass


class NoDirSync(NaiveLog):
    def sync_dir(self, path):
        pass


class NoParentSync(NaiveLog):
    def sync_dir(self, path):
        if path != "/":
            super().sync_dir(path)


class NoChecksum(NaiveLog):
    frame = staticmethod(lambda line: b"         " + line + b"\n")


class NoRewrite(NaiveLog):
    """Trusts that what it reads after a restart is on the medium."""

    def recover(self, content):
        self.file.truncate(self.end)
        self.file.sync()


class RetriedSync(NaiveLog):
    def sync(self):
        try:
            self.file.sync()
        except OSError:
            self.file.sync()


def live(disk, kind, count=5):
    """Write lines, and note those that were acknowledged."""
    log = kind(disk)
    try:
        for line in (b"%d the line of that number" % n for n in range(count)):
            log.add(line)
            disk.note(line)
    except OSError:
        pass


def survives(disk, kind, **options):
    """Tell whether every acknowledged line is there after any crash, and no other."""
    for state in disk.crash_states(**options):
        lines = kind(state.mount()).lines
        written = [b"%d the line of that number" % n for n in range(len(lines))]
        if lines[: len(state.notes)] != [*state.notes] or lines != written:
            return False
    return True


@pytest.mark.parametrize("sector", [32, 512, 4096])
def test_careful_log_survives_every_crash(sector):
    disk = CrashDisk(sector=sector)
    live(disk, NaiveLog)
    assert survives(disk, NaiveLog, variants=10)


@pytest.mark.parametrize("kind", [NoSync, NoDirSync, NoParentSync, NoChecksum])
@pytest.mark.parametrize("seed", range(3))
def test_planted_fault_is_found(kind, seed):
    disk = CrashDisk(seed=seed)
    live(disk, kind)
    assert not survives(disk, kind, variants=3)


@pytest.mark.parametrize("kind", [NaiveLog, NoRewrite, RetriedSync])
def test_failed_sync_hurts_who_believes_the_cache(kind):
    """The process whose sync failed dies; the next one finds it all, in the cache."""
    disk = CrashDisk()
    disk.inject("sync", error=EIO, nth=4)
    live(disk, kind)
    if kind is RetriedSync:
        assert len(kind(disk).lines) == 5
        assert not survives(disk, kind)
        return

    [*_, killed] = disk.crash_states(kinds=["kill"])
    again = killed.mount()
    log = kind(again)
    assert log.lines[: len(killed.notes)] == [*killed.notes]
    again.note("acknowledged")
    told = [*log.lines]
    lost = [
        state
        for state in again.crash_states()
        if state.notes and kind(state.mount()).lines != told
    ]
    assert bool(lost) == (kind is NoRewrite)


def test_example_of_the_docstring_works_and_can_fail():
    text = inspect.getdoc(CrashDisk).split("::\n", 1)[1].split("\nWithout one", 1)[0]
    program = inspect.cleandoc(text)
    exec(program, {})
    for needed in ["file.sync()", 'self.disk.sync_dir("/")']:
        assert needed in program
        with pytest.raises((AssertionError, ValueError)):
            exec(program.replace(needed, "pass"), {})


# -- contents --------------------------------------------------------------------------


def test_unsynced_write_may_be_lost_or_kept():
    disk, file = filled()
    file.pwrite(b"new", 0)
    assert left(disk, "kept", "lost") == [{"/f": b"new"}, {"/f": b"old"}]
    assert disk.files() == {"/f": b"new"}
    file.sync()
    assert left(disk, "kept", "lost") == [{"/f": b"new"}]


def test_size_may_be_stored_without_the_content():
    disk, file = filled(content=b"old.", sector=4)
    file.pwrite(b"new.more", 0)
    assert left(disk, "hollow") == [{"/f": b"old.\0\0\0\0"}]


def test_sectors_are_stored_in_any_order():
    disk, file = filled(content=b"", sector=4)
    file.pwrite(b"aaaabbbbcccc", 0)
    found = {state["/f"] for state in left(disk, "suffix", variants=30)}
    assert found == {b"aaaabbbbcccc", b"\0\0\0\0bbbbcccc", b"\0\0\0\0\0\0\0\0cccc"}


def test_writes_are_torn_within_a_sector():
    disk, file = filled(content=b"--------")
    file.pwrite(b"abcdefgh", 0)
    found = {state["/f"] for state in left(disk, "prefix", variants=300)}
    # The rest of the sector, of 512 bytes, is the same before and after.
    assert found == {b"abcdefgh"[:n] + b"--------"[n:] for n in range(8)}


@pytest.mark.parametrize("kind", ["zeros", "garbage"])
def test_only_what_was_changed_is_spoilt(kind):
    disk, file = filled(content=b"safe----safe")
    file.pwrite(b"abcd", 4)
    found = {state["/f"] for state in left(disk, kind, variants=50)}
    assert len(found) > 1
    assert all(one[:4] == one[8:] == b"safe" for one in found)
    if kind == "zeros":
        assert found == {b"safe\0\0\0\0safe", b"safeabcdsafe"}


def test_rewriting_the_same_is_safe():
    disk, file = filled(content=b"acknowledged" * 100)
    file.pwrite(b"acknowledged" * 100, 0)
    assert left(disk, *ALL_BUT_KILL, variants=20) == [{"/f": b"acknowledged" * 100}]


def test_mixed_crash_finds_older_versions_and_sizes():
    disk, file = filled(content=b"")
    for number in (b"1", b"22", b"333"):
        file.pwrite(number, 0)
    found = {state["/f"] for state in left(disk, "mixed", variants=300)}
    assert {b"", b"1", b"22", b"333", b"11\0"[:1] + b"\0", b"\0\0\0"} <= found


def test_truncation_is_durable_when_synced():
    disk, file = filled(content=b"0123456789")
    file.truncate(4)
    assert left(disk, "kept", "lost") == [{"/f": b"0123"}, {"/f": b"0123456789"}]
    file.truncate(8)
    assert file.pread(99, 0) == b"0123\0\0\0\0"
    file.sync()
    assert left(disk, "lost") == [{"/f": b"0123\0\0\0\0"}]


def test_cut_content_may_come_back_behind_the_end():
    disk, file = filled(content=b"aaaabbbb", sector=4)
    file.truncate(4)
    file.pwrite(b"cccc", 4)
    found = {state["/f"] for state in left(disk, "mixed", variants=60)}
    assert {b"aaaa", b"aaaabbbb", b"aaaacccc"} <= found


def test_truncation_within_a_sector_may_be_half_done():
    disk, file = filled(content=b"aaaabbbb", sector=4)
    file.truncate(6)
    found = {state["/f"] for state in left(disk, "mixed", variants=60)}
    assert {b"aaaabb", b"aaaabbbb", b"aaaabb\0\0"} <= found


@pytest.mark.parametrize("how", ["write", "truncate", "allocate"])
def test_what_was_cut_does_not_come_back_after_a_sync(how):
    disk, file = filled(content=b"aaaabbbbcccc", sector=4)
    file.truncate(3)
    if how == "write":
        file.pwrite(b"\0", 11)
    else:
        getattr(file, how)(12)
    file.sync()
    assert left(disk, *ALL_BUT_KILL) == [{"/f": b"aaa" + bytes(9)}]


def test_write_behind_the_end_leaves_zeros():
    disk, file = filled(content=b"a")
    file.pwrite(b"z", 3)
    assert file.pread(9, 0) == b"a\0\0z"
    assert (file.pread(9, 3), file.pread(9, 4), file.size()) == (b"z", b"", 4)
    assert file.pwritev([b"1", b"", b"23"], 1) == 3
    assert disk.files() == {"/f": b"a123"}


def test_allocation_extends_and_never_cuts():
    disk, file = filled()
    file.allocate(6)
    file.allocate(2)
    assert disk.files() == {"/f": b"old\0\0\0"}


# -- names -----------------------------------------------------------------------------


def test_new_file_needs_its_directory_synced():
    disk = CrashDisk()
    file = disk.open("/f", exclusive=True, write=True)
    file.pwrite(b"x", 0)
    file.sync()
    assert left(disk, "names", "hollow") == [{}, {"/f": b"x"}]
    disk.sync_dir("/")
    assert left(disk, "names", "lost") == [{"/f": b"x"}]


def test_new_directory_needs_its_parent_synced():
    disk = CrashDisk()
    disk.mkdir("/a")
    disk.open("/a/f", create=True).close()
    disk.sync_dir("/a")
    assert left(disk, "lost") == [{}]
    disk.sync_dir("/")
    assert left(disk, "lost") == [{"/a/f": b""}]


def test_rename_happens_as_a_whole_or_not():
    disk = CrashDisk({"/a": b"new", "/b": b"old"})
    disk.rename("/a", "/b")
    assert left(disk, *ALL_BUT_KILL, variants=5) == [
        {"/b": b"new"},
        {"/a": b"new", "/b": b"old"},
    ]


def test_rename_to_another_directory_is_durable_with_either():
    disk = CrashDisk({"/x/a": b"1", "/y/b": b"2"})
    disk.rename("/x/a", "/y/a")
    disk.sync_dir("/x")
    assert left(disk, "lost") == [{"/y/a": b"1", "/y/b": b"2"}]


def test_removed_file_may_come_back():
    disk = CrashDisk({"/a": b"1", "/b": b"2"})
    disk.unlink("/a")
    disk.unlink("/b")
    found = left(disk, "mixed", variants=40)
    assert len(found) == 4
    disk.sync_dir("/")
    assert left(disk, *ALL_BUT_KILL) == [{}]


def test_file_without_a_name_lives_until_it_is_closed():
    disk, file = filled()
    disk.unlink("/f")
    file.pwrite(b"!", 3)
    assert file.pread(9, 0) == b"old!"
    assert disk.files() == {}


def test_paths_are_those_of_a_file_system():
    disk = CrashDisk({"/a/b/c": b"1"})
    assert disk.exists("a/./b/../b/c")
    assert disk.listdir("/a") == ["b"]
    assert disk.size("/a/b/c") == 1
    for call, kind in [
        (lambda: disk.open("/none"), FileNotFoundError),
        (lambda: disk.open("/none/f", create=True), FileNotFoundError),
        (lambda: disk.open("/a/b/c/d", create=True), NotADirectoryError),
        (lambda: disk.open("/a/b/c", exclusive=True), FileExistsError),
        (lambda: disk.open("/a/b"), IsADirectoryError),
        (lambda: disk.size("/a"), IsADirectoryError),
        (lambda: disk.mkdir("/a"), FileExistsError),
        (lambda: disk.mkdir("/none/x"), FileNotFoundError),
        (lambda: disk.listdir("/none"), FileNotFoundError),
        (lambda: disk.listdir("/a/b/c"), NotADirectoryError),
        (lambda: disk.sync_dir("/none"), FileNotFoundError),
        (lambda: disk.rename("/none", "/x"), FileNotFoundError),
        (lambda: disk.unlink("/none"), FileNotFoundError),
    ]:
        with pytest.raises(kind):
            call()


def test_file_is_what_it_was_opened_for():
    disk, file = filled()
    reader = disk.open("/f")
    for call in (lambda: reader.pwrite(b"x", 0), lambda: reader.truncate(0)):
        with pytest.raises(OSError, match="Bad file descriptor"):
            call()
    file.close()
    file.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        file.pread(1, 0)
    assert file.fileno() == -1


def test_locks_are_those_of_openings():
    disk, file = filled()
    other, third = disk.open("/f"), disk.open("/f")
    assert file.lock()
    assert file.lock()
    assert not other.lock()
    assert not other.lock(shared=True)
    file.unlock()
    assert other.lock(shared=True)
    assert third.lock(shared=True)
    assert not file.lock()
    third.close()
    other.close()
    assert file.lock()
    [*_, killed] = disk.crash_states(kinds=["kill"])
    assert killed.mount().open("/f").lock()


# -- faults ----------------------------------------------------------------------------


def test_nth_operation_fails():
    disk, file = filled()
    fault = disk.inject("write", error=EIO, nth=2, times=2)
    assert file.pwrite(b"1", 0) == 1
    for _ in range(2):
        with pytest.raises(OSError, match="Input/output error") as caught:
            file.pwrite(b"2", 1)
        assert caught.value.errno == EIO
    assert file.pwrite(b"3", 2) == 1
    assert (fault.seen, fault.hits) == (4, 2)
    assert disk.files() == {"/f": b"1l3"}


def test_full_disk_writes_what_fits():
    disk, file = filled(capacity=8)
    assert file.pwrite(b"0123456789", 0) == 8
    with pytest.raises(OSError, match="No space left"):
        file.pwrite(b"89", 8)
    with pytest.raises(OSError, match="No space left"):
        file.allocate(9)
    assert file.pwrite(b"ab", 0) == 2
    disk.capacity = 9
    assert file.pwrite(b"89", 8) == 1
    disk.heal()
    assert file.pwrite(b"9", 9) == 1
    assert disk.files() == {"/f": b"ab23456789"}


def test_room_comes_back_when_a_file_goes():
    disk = CrashDisk({"/a": bytes(6), "/b": b""}, capacity=8)
    file = disk.open("/b", write=True)
    assert file.pwrite(bytes(8), 0) == 2
    disk.unlink("/a")
    assert file.pwrite(bytes(6), 2) == 6


def test_short_write_comes_before_its_error():
    disk, file = filled()
    disk.inject("write", error=ENOSPC, partial=2)
    assert file.pwrite(b"abcd", 0) == 2
    with pytest.raises(OSError, match="No space left"):
        file.pwrite(b"cd", 2)
    assert file.pwrite(b"cd", 2) == 2
    disk.inject("read", partial=1)
    assert file.pread(9, 0) == b"a"
    assert file.pread(9, 0) == b"abcd"


def test_each_of_several_errors_has_a_short_write_before_it():
    disk, file = filled()
    disk.inject("write", error=EIO, partial=1, times=2)
    for _ in range(2):
        assert file.pwrite(b"abc", 0) == 1
        with pytest.raises(OSError, match="Input/output"):
            file.pwrite(b"abc", 0)
    assert file.pwrite(b"abc", 0) == 3


def test_failed_sync_leaves_clean_sectors_that_are_not_stored():
    disk, file = filled(sector=4, content=b"aaaabbbb")
    disk.inject("sync", error=EIO)
    file.pwrite(b"AAAABBBB", 0)
    with pytest.raises(OSError, match="Input/output"):
        file.sync()
    file.sync()  # it says that all is well
    file.pwrite(b"BBBB", 4)
    file.sync()
    assert left(disk, "lost", "kept") == [{"/f": b"aaaaBBBB"}, {"/f": b"AAAABBBB"}]


def test_faults_know_paths_and_every_operation():
    disk = CrashDisk({"/a": b"1", "/b": b"2"})
    for operation in ("open", "create", "rename", "unlink", "mkdir", "sync_dir"):
        disk.inject(operation, error=EIO, path="/a*", times=None)
    for operation in ("read", "truncate", "allocate", "sync", "lock", "listdir"):
        disk.inject(operation, error=errno.EINTR)
    file = disk.open("/b", write=True)
    for call in (
        lambda: disk.open("/a"),
        lambda: disk.open("/a2", create=True),
        lambda: disk.rename("/a", "/c"),
        lambda: disk.unlink("/a"),
        lambda: disk.mkdir("/a3"),
    ):
        with pytest.raises(OSError, match="Input/output"):
            call()
    for call in (
        lambda: file.pread(1, 0),
        lambda: file.truncate(0),
        lambda: file.allocate(9),
        file.sync,
        file.lock,
        lambda: disk.listdir("/"),
    ):
        with pytest.raises(InterruptedError):
            call()
        call()
    assert [str(event) for event in disk.trace if event.error] == [
        "create /a2: Input/output error",
        "rename /a to /c: Input/output error",
        "unlink /a: Input/output error",
        "mkdir /a3: Input/output error",
        "truncate /b to 0: Interrupted system call",
        "allocate /b to 9: Interrupted system call",
        "sync /b: Interrupted system call",
    ]
    assert [*disk.files()] == ["/a", "/b"]


def test_slow_sync_is_about_what_was_written_before():
    disk, file = filled()
    begun, end = threading.Event(), threading.Event()
    disk.inject("sync", before=lambda: (begun.set(), end.wait(20)))
    file.pwrite(b"NEW", 0)
    syncing = threading.Thread(target=file.sync)
    syncing.start()
    assert begun.wait(20)
    file.pwrite(b"...more", 3)
    assert left(disk, "lost", "kept") == [{"/f": b"old"}, {"/f": b"NEW...more"}]
    end.set()
    syncing.join(20)
    assert left(disk, "lost", "kept") == [{"/f": b"NEW"}, {"/f": b"NEW...more"}]
    file.sync()
    assert left(disk, "lost") == [{"/f": b"NEW...more"}]


def test_operation_can_be_late():
    disk, file = filled()
    disk.inject("sync", delay=0.02)
    start = time.monotonic()
    file.sync()
    assert time.monotonic() - start >= 0.02


async def test_late_operation_on_a_loop_is_told(anyio_backend):
    disk, file = filled()
    disk.inject("sync", delay=0.001)
    with pytest.warns(BlockingInLoopWarning, match="slow CrashDisk"):
        file.sync()


def test_damage_is_everywhere_and_for_good():
    disk, file = filled()
    file.pwrite(b"!", 3)
    disk.note("before")
    disk.damage("/f", 1, 0x01)
    assert file.pread(9, 0) == b"omd!"
    assert left(disk, "lost", "kept", last=False) == [{"/f": b"omd"}, {"/f": b"omd!"}]
    with pytest.raises(IndexError):
        disk.damage("/f", 4)
    with pytest.raises(FileNotFoundError):
        disk.damage("/none", 0)


def test_damage_stays_in_what_a_failed_sync_has_left_open():
    disk, file = filled(sector=4, content=b"aaaa")
    file.pwrite(b"bbbbcc", 0)
    disk.inject("sync", error=EIO)
    with pytest.raises(OSError, match="Input/output"):
        file.sync()
    for place in (1, 5):
        disk.damage("/f", place, 0x01)
    assert left(disk, "lost", "kept") == [{"/f": b"a`aa"}, {"/f": b"bcbbcb"}]


@pytest.mark.parametrize(
    "options", [{"nth": 0}, {"partial": -1}, {"delay": -1.0}, {"error": -5}]
)
def test_nonsense_is_refused(options):
    with pytest.raises(InvalidValue):
        CrashDisk().inject("sync", **options)
    with pytest.raises(InvalidValue, match="sector=0"):
        CrashDisk(sector=0)


# -- states ----------------------------------------------------------------------------


def some_life(disk):
    disk.mkdir("/d")
    file = disk.open("/d/f", create=True, write=True)
    for number in range(4):
        file.pwrite(b"%d" % number * 700, number * 700)
        if number % 2:
            file.sync()
            disk.sync_dir("/d")
        disk.note(number)


def picture(state):
    return str(state), dict(state.files), state.notes


def test_states_are_the_same_in_every_run():
    pictures = []
    for _ in range(2):
        disk = CrashDisk(seed=5)
        some_life(disk)
        pictures.append([picture(state) for state in disk.crash_states(variants=3)])
    assert pictures[0] == pictures[1]
    assert len({text for text, *_ in pictures[0]}) == len(pictures[0]) > 50
    other = CrashDisk(seed=6)
    some_life(other)
    assert [picture(s) for s in other.crash_states(variants=3)] != pictures[0]


def test_one_state_can_be_made_alone():
    disk = CrashDisk()
    some_life(disk)
    for wanted in itertools.islice(disk.crash_states(), 0, None, 7):
        again = [*disk.crash_states(kinds=[wanted.kind], points={wanted.point})]
        assert [picture(state) for state in again] == [picture(wanted)]


def test_state_knows_what_was_noted():
    disk = CrashDisk()
    some_life(disk)
    notes = [state.notes for state in disk.crash_states(kinds=["kill"])]
    assert len(notes) == len(disk.trace) + 1
    assert sorted({*notes}, key=len) == [tuple(range(n)) for n in range(5)]
    assert all(isinstance(state, CrashState) for state in disk.crash_states())


def test_mounted_state_stands_alone():
    disk, file = filled(capacity=100)
    file.pwrite(b"new", 0)
    for state in disk.crash_states(points={1}):
        mounted = state.mount()
        assert mounted.capacity is None
        assert mounted.trace == ()
        assert mounted.files() == dict(state.files)
        mounted.open("/f", write=True).pwrite(b"X", 0)
        assert dict(state.files) != mounted.files()
        assert state.mount().files() == dict(state.files)
    assert disk.files() == {"/f": b"new"}


def test_killed_process_leaves_a_cache_that_power_can_take():
    disk, file = filled()
    file.pwrite(b"new", 0)
    disk.rename("/f", "/g")
    [*_, killed] = disk.crash_states(kinds=["kill"])
    again = killed.mount()
    assert again.files() == {"/g": b"new"}
    assert left(again, "lost") == [{"/f": b"old"}]
    again.open("/g", write=True).sync()
    again.sync_dir("/")
    assert left(again, "lost") == [{"/g": b"new"}]


def test_state_can_be_written_to_a_folder(tmp_path):
    disk = CrashDisk({"/a/b/c": b"1", "/d": b"2"})
    disk.mkdir("/empty")
    [*_, state] = disk.crash_states(kinds=["kept"])
    state.write_to(tmp_path / "root")
    found = {
        path.relative_to(tmp_path / "root").as_posix(): path.is_file()
        and path.read_bytes()
        for path in (tmp_path / "root").rglob("*")
    }
    assert found == {
        "a": False,
        "a/b": False,
        "a/b/c": b"1",
        "d": b"2",
        "empty": False,
    }


def test_threads_may_share_it():
    disk = CrashDisk()

    def work(name):
        file = disk.open(f"/{name}", create=True, write=True)
        for number in range(200):
            file.pwrite(b"x", number)
        file.sync()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert disk.files() == {f"/{n}": b"x" * 200 for n in range(4)}
    assert len(disk.trace) == 4 * 202
    assert repr(disk) == "<CrashDisk 4 files, 808 events, sectors of 512>"


# -- any life --------------------------------------------------------------------------

NAMES = st.sampled_from(["/a", "/b", "/d/a"])
NUMBERS = st.integers(0, 40)
STEPS = st.one_of(
    st.tuples(st.just("write"), NAMES, NUMBERS, st.binary(min_size=1, max_size=20)),
    st.tuples(st.sampled_from(["truncate", "allocate"]), NAMES, NUMBERS),
    st.tuples(st.sampled_from(["sync", "failed sync", "unlink"]), NAMES),
    st.tuples(st.just("rename"), NAMES, NAMES),
    st.tuples(st.just("sync_dir"), st.sampled_from(["/", "/d"])),
)


def take_step(disk, name, path, *rest):
    """Do one thing to a disk, if that is possible."""
    if name == "rename" and disk.exists(path):
        disk.rename(path, *rest)
    elif name == "unlink" and disk.exists(path):
        disk.unlink(path)
    elif name == "sync_dir":
        disk.sync_dir(path)
    elif name not in {"rename", "unlink"}:
        file = disk.open(path, create=True, write=True)
        if name == "write":
            file.pwrite(rest[1], rest[0])
        elif name == "failed sync":
            disk.inject("sync", error=EIO)
            with pytest.raises(OSError, match="Input/output"):
                file.sync()
        else:
            getattr(file, name)(*rest)


@settings(deadline=None)
@given(st.lists(STEPS, max_size=12), st.sampled_from([1, 4, 16, 512]))
def test_any_life_leaves_what_it_may(steps, sector):
    disk = CrashDisk(sector=sector)
    disk.mkdir("/d")
    disk.sync_dir("/")
    seen = {}  # path -> every content that was ever seen there
    for step in steps:
        take_step(disk, *step)
        for path, content in disk.files().items():
            seen.setdefault(path, []).append(content)

    for state in disk.crash_states(variants=2):
        if state.kind == "kill" and state.point == len(disk.trace):
            assert dict(state.files) == disk.files()
        assert {*state.files} <= {*seen}
        if state.kind in {"kept", "names"}:
            assert {*state.files.values()} <= {b"", *itertools.chain(*seen.values())}

    for path in disk.files():
        file = disk.open(path, write=True)
        file.pwrite(file.pread(99, 0), 0)
        file.sync()
    for path in ("/", "/d"):
        disk.sync_dir(path)
    after = {len(disk.trace)}
    for state in disk.crash_states(kinds=ALL_BUT_KILL, points=after):
        assert dict(state.files) == disk.files()
        assert state.mount().files() == disk.files()


# -- the real disk ---------------------------------------------------------------------


@pytest.fixture(params=["real", "crash"])
def disk_and_root(request, tmp_path):
    if request.param == "real":
        return OS_DISK, f"{tmp_path}"
    disk = CrashDisk()
    disk.mkdir("/root")
    return disk, "/root"


def test_both_disks_do_the_same(disk_and_root):
    disk, root = disk_and_root
    path, other = f"{root}/a", f"{root}/b"
    file = disk.open(path, exclusive=True, write=True)
    with pytest.raises(FileExistsError):
        disk.open(path, exclusive=True, write=True)
    assert file.pwrite(memoryview(b"hello world"), 2) == 11
    assert file.pwritev([b"HE", bytearray(b"L")], 2) == 3
    assert file.pread(100, 0) == b"\0\0HELlo world"
    file.allocate(4)
    file.truncate(7)
    file.sync()
    assert (file.size(), disk.size(path)) == (7, 7)
    assert file.lock()
    reader = disk.open(path)
    assert not reader.lock(shared=True)
    file.unlock()
    assert reader.lock(shared=True)
    other_reader = disk.open(path)
    assert other_reader.lock(shared=True)
    assert not file.lock()
    other_reader.close()
    with pytest.raises(OSError, match="Bad file"):
        reader.pwrite(b"x", 0)
    reader.close()
    disk.rename(path, other)
    disk.mkdir(f"{root}/d")
    with pytest.raises(FileExistsError):
        disk.mkdir(f"{root}/d")
    disk.sync_dir(root)
    assert sorted(disk.listdir(root)) == ["b", "d"]
    assert (disk.exists(other), disk.exists(path)) == (True, False)
    assert file.pread(100, 0) == b"\0\0HELlo"
    disk.unlink(other)
    with pytest.raises(FileNotFoundError):
        disk.size(other)
    file.close()
    file.close()
    assert file.fileno() == -1
    with pytest.raises(OSError, match="Bad file"):
        file.pread(1, 0)
    with pytest.raises(FileNotFoundError):
        disk.sync_dir(other)


def test_real_file_is_not_inherited(tmp_path):
    file = OS_DISK.open(f"{tmp_path}/a", create=True, write=True)
    assert not os.get_inheritable(file.fileno())
    assert file.pwritev([b"x"] * 3000, 0) == 1024  # IOV_MAX: the rest is the caller's
    assert repr(file) == f"<OsFile '{tmp_path}/a'>"
    file.close()
    assert repr(file) == f"<OsFile '{tmp_path}/a' closed>"


def test_real_disk_says_when_there_is_no_room(monkeypatch, tmp_path):
    file = OS_DISK.open(f"{tmp_path}/a", create=True, write=True)

    def fail(number):
        def posix_fallocate(*_):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "posix_fallocate", posix_fallocate, raising=False)

    fail(errno.EOPNOTSUPP)
    file.allocate(100)
    fail(ENOSPC)
    with pytest.raises(OSError, match="No space left"):
        file.allocate(100)
    file.close()


@pytest.mark.skipif(sys.platform == "win32", reason="it has no flock")
def test_real_disk_without_locks_says_so(monkeypatch, tmp_path):
    import fcntl

    def flock(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    file = OS_DISK.open(f"{tmp_path}/a", create=True, write=True)
    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match="No locks"):
        file.lock()
    file.close()


@pytest.mark.skipif(sys.platform == "win32", reason="it has no directories to sync")
@pytest.mark.parametrize("number", [errno.EINVAL, EIO])
def test_real_disk_may_not_know_how_to_sync_a_directory(monkeypatch, tmp_path, number):
    def fsync(_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    if number == EIO:
        with pytest.raises(OSError, match="Input/output"):
            OS_DISK.sync_dir(str(tmp_path))
    else:
        OS_DISK.sync_dir(str(tmp_path))
    assert repr(OS_DISK) == "<OsDisk>"


def test_a_fault_that_could_never_come_is_refused():
    disk = CrashDisk()
    for operation in ("fsync", "note", ""):
        with pytest.raises(InvalidValue, match="operation"):
            disk.inject(operation, error=EIO)
    with pytest.raises(InvalidValue, match="times"):
        disk.inject("sync", error=EIO, times=0)


def test_crashes_that_there_are_none_of_are_refused():
    disk = CrashDisk()
    for kinds in ("kill", ["killed"]):
        with pytest.raises(InvalidValue, match="kinds"):
            disk.crash_states(kinds=kinds)
    with pytest.raises(InvalidValue, match="variants"):
        disk.crash_states(variants=0)


def test_negative_sizes_and_offsets_are_refused():
    _, file = filled()
    for call in (
        lambda: file.pread(-1, 0),
        lambda: file.pread(1, -1),
        lambda: file.pwrite(b"x", -1),
        lambda: file.truncate(-1),
        lambda: file.allocate(-1),
    ):
        with pytest.raises(OSError, match="Invalid argument") as refusal:
            call()
        assert refusal.value.errno == errno.EINVAL
    assert file.pread(10, 0) == b"old"


@pytest.mark.parametrize("turned", [False, True])
def test_a_chain_of_renames_is_durable_as_a_whole(turned):
    disk = CrashDisk({"/a/x": b"x", "/b/y": b"y", "/c/z": b"z"})
    renames = [("/a/x", "/b/x"), ("/b/y", "/c/y")]
    for rename in reversed(renames) if turned else renames:
        disk.rename(*rename)
    disk.sync_dir("/c")
    for state in disk.crash_states(points=[len(disk.trace)]):
        assert dict(state.files) == {"/b/x": b"x", "/c/y": b"y", "/c/z": b"z"}, state


@pytest.mark.parametrize(
    ("source", "target", "number"),
    [
        ("/f", "/full", errno.EISDIR),
        ("/empty", "/f", errno.ENOTDIR),
        ("/empty", "/full", errno.ENOTEMPTY),
        ("/full", "/full/in", errno.EINVAL),
        ("/none", "/g", errno.ENOENT),
        ("/f", "/none/f", errno.ENOENT),
        ("/f", "/f", 0),
        ("/full", "/empty", 0),
        ("/full", "/full", 0),
    ],
)
def test_renames_are_refused_as_by_the_system(tmp_path, source, target, number):
    disk = CrashDisk({"/f": b"", "/full/g": b""})
    disk.mkdir("/empty")
    for place, prefix in ((disk, ""), (OS_DISK, str(tmp_path))):
        if prefix:
            for path in ("/full", "/empty"):
                place.mkdir(prefix + path)
            for path in ("/f", "/full/g"):
                place.open(prefix + path, create=True, write=True).close()
        with (
            contextlib.suppress(OSError) if not number else pytest.raises(OSError) as e
        ):
            place.rename(prefix + source, prefix + target)
        if number:
            assert e.value.errno == number
