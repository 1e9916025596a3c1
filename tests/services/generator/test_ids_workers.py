"""Worker numbers without a server: static, from the environment, slots of files."""

import os
import signal
import subprocess
import sys

import pytest
from id_tools import in_children, needs_fork

from cup.errors import InvalidValue, NoWorkerId
from cup.services.generator import (
    EnvWorker,
    FileSlots,
    SnowflakeGenerator,
    StaticWorker,
)


def worker_of(ids):
    return ids.parse(ids.next_id()).worker


def test_number_alone_is_a_static_worker(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    ids = SnowflakeGenerator(7)
    assert worker_of(ids) == 7
    assert ids.stats().worker == 7
    assert [*(tmp_path / "cup-ids").rglob("worker-7")]


def test_none_is_a_slot_of_this_user(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    first, second = SnowflakeGenerator(), SnowflakeGenerator()
    assert (worker_of(first), worker_of(second)) == (0, 1)
    (home,) = tmp_path.iterdir()
    assert home.stat().st_mode & 0o777 == 0o700


def test_folder_of_somebody_else_is_refused(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"cup-ids-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InvalidValue, match="another user"):
        SnowflakeGenerator(5).next_id()


@pytest.mark.parametrize(
    ("text", "number"), [("3", 3), ("web-12", 12), ("pod_0007", 7), ("0", 0)]
)
def test_environment_gives_the_number(tmp_path, monkeypatch, text, number):
    monkeypatch.setenv("POD", text)
    assert worker_of(SnowflakeGenerator(EnvWorker("POD", directory=tmp_path))) == number


@pytest.mark.parametrize("text", [None, "", "web", "3x"])
def test_environment_without_a_number_is_refused(tmp_path, monkeypatch, text):
    monkeypatch.delenv("POD", raising=False)
    if text is not None:
        monkeypatch.setenv("POD", text)
    with pytest.raises(NoWorkerId, match="POD"):
        SnowflakeGenerator(EnvWorker("POD", directory=tmp_path)).next_id()


def test_slots_are_lowest_first_and_can_be_used_up(tmp_path):
    slots = [FileSlots(tmp_path, first=4, count=3) for _ in range(4)]
    ids = [SnowflakeGenerator(slot) for slot in slots]
    assert [worker_of(each) for each in ids[:3]] == [4, 5, 6]
    with pytest.raises(NoWorkerId, match="from 4 to 6"):
        ids[3].next_id()
    before = ids[1].next_id()
    slots[1].release()
    assert worker_of(ids[3]) == 5
    assert ids[3].next_id() > before
    with pytest.raises(NoWorkerId):
        ids[1].next_ids(10_000)


def test_two_generators_share_a_slot_and_no_id(tmp_path):
    slots = FileSlots(tmp_path)
    first, second = SnowflakeGenerator(slots), SnowflakeGenerator(slots)
    made = [one for _ in range(3000) for one in (first.next_id(), second.next_id())]
    assert worker_of(first) == worker_of(second) == 0
    assert len(set(made)) == len(made)


@needs_fork
def test_child_takes_a_slot_of_its_own_and_leaves_the_parents(tmp_path):
    ids = SnowflakeGenerator(FileSlots(tmp_path))
    mine = worker_of(ids)
    others = [int(told) for told in in_children(3, lambda _: b"%d" % worker_of(ids))]
    assert mine not in others
    assert worker_of(ids) == mine


HOLDER = """
import sys, time
from cup.services.generator import FileSlots, SnowflakeGenerator
ids = SnowflakeGenerator(FileSlots(sys.argv[1]))
print(ids.next_id(), flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_slot_of_a_killed_process_is_free_at_once_and_its_ids_stay(tmp_path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    last = int(holder.stdout.readline())
    ids = SnowflakeGenerator(FileSlots(tmp_path))
    assert ids.parse(last).worker == 0
    assert worker_of(ids) == 1
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    heir = SnowflakeGenerator(FileSlots(tmp_path))
    first = heir.next_id()
    assert heir.parse(first).worker == 0
    assert first > last


def test_static_worker_of_two_processes_is_shared_without_duplicates(tmp_path):
    worker = StaticWorker(5, directory=tmp_path)
    ids, twin = SnowflakeGenerator(worker), SnowflakeGenerator(worker)
    made = ids.next_ids(10_000) + twin.next_ids(10_000) + ids.next_ids(10_000)
    assert len(set(made)) == len(made)
    assert repr(worker) == "StaticWorker(5)"


def test_unusable_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidValue, match="give a directory"):
        SnowflakeGenerator(StaticWorker(5, directory=tmp_path / "file")).next_id()
    with pytest.raises(TypeError):
        FileSlots(5)
