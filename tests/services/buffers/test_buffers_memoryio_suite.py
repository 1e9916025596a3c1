"""CPython's own memory-IO tests pass against the file object over a buffer.

They are those of the interpreter that runs this, where its `test` package is present.
"""

import io
import unittest
from importlib.util import find_spec

import pytest

from cup.services.buffers import BufferPool
from cup.services.buffers.file import BufferFile

LEFT_OUT = {
    "test_pickling": "memory of a process cannot be pickled",
    "test_init": "a file is made over a buffer, and keeps it",
    # Memory that never moves refuses nothing while a view of it lives; a view that
    # outlives its buffer keeps the block: see test_buffers_views.
    "test_getbuffer": "nothing is resized, so exported views refuse nothing",
    "test_getbuffer_empty": "nothing is resized, so exported views refuse nothing",
    "test_getbuffer_gc_collect": "a view holds the memory, not the file",
}
LEAST = 25  # tests of bytes, in every version


def has_suite():
    try:
        return find_spec("test.test_memoryio") is not None
    except ModuleNotFoundError:
        return False


if has_suite():
    from test import test_memoryio
else:
    pytest.skip("this Python has no test package", allow_module_level=True)


class MemoryFile(BufferFile):
    """A file as the suite makes them, over blocks that cut everything in pieces."""

    def __init__(self, initial_bytes=b"", /, **renamed):
        content = renamed.pop("initial_bytes", initial_bytes)
        if renamed:
            raise TypeError(f"no such arguments: {renamed}")
        buffer = BufferPool(pool_size=2000, block_size=7).acquire(2000)
        super().__init__(buffer)
        self.write(b"" if content is None else content)
        self.seek(0)

    def __del__(self):
        if hasattr(self, "_buffer"):
            self._buffer.release()


class Suite(test_memoryio.PyBytesIOTest):
    __test__ = False  # the tests below run it, name by name
    ioclass = MemoryFile
    UnsupportedOperation = io.UnsupportedOperation


NAMES = unittest.TestLoader().getTestCaseNames(Suite)


def test_the_suite_is_whole():
    assert len(NAMES) >= LEAST


@pytest.mark.parametrize("name", [name for name in NAMES if name not in LEFT_OUT])
def test_of_cpython(name):
    result = unittest.TestResult()
    Suite(name).run(result)
    assert result.testsRun == 1
    assert not [text for _, text in (*result.errors, *result.failures)]
    assert not result.skipped


def test_the_view_of_a_file_is_its_memory():
    file = MemoryFile(b"123456")
    file.getbuffer()[3:6] = b"abc"
    assert file.getvalue() == b"123abc"
    assert bytes(MemoryFile().getbuffer()) == b""
    with pytest.raises(io.UnsupportedOperation, match="in 2 blocks"):
        MemoryFile(b"12345678").getbuffer()


def test_a_file_is_what_the_standard_library_takes(tmp_path):
    import tarfile
    import zipfile

    pool = BufferPool(pool_size=64, block_size=4096)
    with pool.acquire(64) as buffer:
        with zipfile.ZipFile(buffer.file(), "w") as archive:
            archive.writestr("one", b"1" * 5000)
        with zipfile.ZipFile(buffer.file()) as archive:
            assert archive.read("one") == b"1" * 5000
        buffer.clear()
        (tmp_path / "two").write_bytes(b"2" * 9000)
        with tarfile.open(fileobj=buffer.file(), mode="w") as archive:
            archive.add(tmp_path / "two", "two")
        buffer.seek(0)
        with tarfile.open(fileobj=buffer.file()) as archive:
            assert archive.extractfile("two").read() == b"2" * 9000
        buffer.set("zwei\nZeilen\n")
        text = io.TextIOWrapper(io.BufferedReader(buffer.file()), "utf8")
        assert list(text) == ["zwei\n", "Zeilen\n"]


def test_closing_a_file_leaves_the_buffer():
    with BufferPool(4).acquire() as buffer:
        with buffer.file() as file:
            file.write(b"abc")
            assert "over <Buffer" in repr(file)
        assert "closed" in repr(file)
        assert buffer.tobytes() == b"abc"
        with pytest.raises(ValueError, match="closed file"):
            file.read()


def test_lines_longer_than_a_step_are_found_whole():
    with BufferPool(4).acquire(2) as buffer:
        line = b"x" * 20000 + b"\n"
        buffer.set(line + b"y" * 8192 + b"\n" + b"z" * 8192)
        file = buffer.file()
        assert file.readline(9000) == line[:9000]
        assert file.readline() == line[9000:]
        assert file.readlines() == [b"y" * 8192 + b"\n", b"z" * 8192]
