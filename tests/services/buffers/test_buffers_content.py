"""What is in a buffer is what was put there, to the byte, and nothing else."""

import array
import ctypes
import io
from itertools import product

import pytest
from buffers_tools import settled

from cup.errors import (
    BufferOverflow,
    BufferPoolError,
    BufferTooLarge,
    InvalidType,
    InvalidValue,
)
from cup.services.buffers import (
    LARGE_BLOCK_SIZE,
    MEDIUM_BLOCK_SIZE,
    SMALL_BLOCK_SIZE,
    AsyncBufferPool,
    BufferPool,
)

SIZE = 10  # bytes of a block: everything below spans several


@pytest.fixture
def pool():
    pool = BufferPool(pool_size=40, block_size=SIZE)
    yield pool
    assert settled(pool)


@pytest.fixture
def buffer(pool):
    with pool.acquire(4) as buffer:
        buffer.set(b"?" * 40)  # what was here before
        buffer.clear()
        yield buffer


# The older names


def test_the_example_of_the_older_library():
    pool = BufferPool(MEDIUM_BLOCK_SIZE, 102400)
    ok, message = pool.allocate(102401)
    assert not ok
    assert "102401" in message
    ok, buffer = pool.allocate(10)
    assert ok
    assert (pool._used_num, pool._free_num) == (10, 102390)
    assert buffer.set("a" * 10 * MEDIUM_BLOCK_SIZE) == (True, None)
    assert buffer.set("a" * (10 * MEDIUM_BLOCK_SIZE + 1))[0] is False
    assert pool.deallocate(buffer) is True
    assert (pool._used_num, pool._free_num) == (0, 102400)
    assert len(pool._free_list) == 102400
    assert len(pool._used_dict) == 0


@pytest.mark.parametrize(
    ("args", "sizes"),
    [
        ((100, SMALL_BLOCK_SIZE), (100, SMALL_BLOCK_SIZE)),
        ((SMALL_BLOCK_SIZE, 100), (100, SMALL_BLOCK_SIZE)),
        ((LARGE_BLOCK_SIZE, 3), (3, LARGE_BLOCK_SIZE)),
        # Two standard sizes are in the documented order.
        ((SMALL_BLOCK_SIZE, MEDIUM_BLOCK_SIZE), (SMALL_BLOCK_SIZE, MEDIUM_BLOCK_SIZE)),
        ((7,), (7, MEDIUM_BLOCK_SIZE)),
    ],
)
@pytest.mark.parametrize("kind", [BufferPool, AsyncBufferPool])
def test_both_orders_of_arguments(kind, args, sizes):
    stats = kind(*args).stats()
    assert (stats.total, stats.block_size) == sizes


def test_a_keyword_means_what_it_says():
    stats = BufferPool(pool_size=SMALL_BLOCK_SIZE, block_size=10).stats()
    assert (stats.total, stats.block_size) == (SMALL_BLOCK_SIZE, 10)
    stats = BufferPool(SMALL_BLOCK_SIZE, block_size=10).stats()
    assert (stats.total, stats.block_size) == (SMALL_BLOCK_SIZE, 10)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"pool_size": 0}, InvalidValue, "pool_size"),
        ({"pool_size": 1.5}, InvalidType, "pool_size"),
        ({"pool_size": True}, InvalidType, "pool_size"),
        ({"pool_size": 1, "block_size": -1}, InvalidValue, "block_size"),
        ({"pool_size": 5, "max_blocks": 4}, InvalidValue, "max_blocks"),
        ({"pool_size": 5, "leaks": "sometimes"}, InvalidValue, "sometimes"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        BufferPool(**arguments)


def test_an_order_that_nobody_knows_is_refused():
    with pytest.raises(InvalidValue, match="neither is a standard block size"):
        BufferPool(100, 200)


@pytest.mark.parametrize("wrong", ["2", 2.0, None, True])
def test_a_number_of_blocks_is_an_int(pool, wrong):
    with pytest.raises(InvalidType):
        pool.allocate(wrong)
    with pytest.raises(InvalidType):
        pool.acquire(wrong)
    assert pool.allocate(1)[0]  # nothing is held by that


@pytest.mark.parametrize("wrong", [0, -3])
def test_a_buffer_has_a_block_or_more(pool, wrong):
    with pytest.raises(InvalidValue):
        pool.allocate(wrong)
    assert pool.stats().free == 40


def test_more_than_there_can_be_is_refused_at_once(pool):
    ok, message = pool.allocate(41)
    assert (ok, "never has more than 40" in message) == (False, True)
    with pytest.raises(BufferTooLarge, match="41 blocks"):
        pool.acquire(41)


def test_an_empty_buffer_says_so(buffer):
    assert buffer.get() == (False, ("the buffer is empty", SIZE, None))
    assert buffer.set("") == (True, None)
    assert (buffer.length(), buffer.tobytes()) == (0, b"")
    assert buffer.get()[0] is False


def test_get_gives_the_blocks_cut_at_the_length(buffer):
    buffer.set(b"0123456789abcde")
    ok, (views, size, length) = buffer.get()
    assert ok
    assert [bytes(view) for view in views] == [b"0123456789", b"abcde"]
    assert (size, length) == (SIZE, 15)
    assert buffer.get_byte_arrays() == views
    assert buffer.maxsize() == 40


def test_ids_never_repeat(pool):
    seen = set()
    for _ in range(100):
        with pool.acquire() as buffer:
            seen.add(buffer.get_uniq_id())
    assert len(seen) == 100


# set


@pytest.mark.parametrize("length", [0, 1, 9, 10, 11, 19, 20, 21, 39, 40])
def test_set_is_exact_over_many_blocks(buffer, length):
    content = bytes(range(length))
    assert buffer.set(content) == (True, None)
    assert (buffer.length(), len(buffer), buffer.tobytes()) == (length, length, content)
    assert b"".join(buffer.views()) == content == bytes(buffer)


def test_set_replaces(buffer):
    for content in (b"a" * 40, b"b" * 7, b"", b"c" * 33):
        buffer.set(content)
        assert buffer.tobytes() == content
        assert buffer.maxsize() == 40


def test_a_failed_set_leaves_the_content(buffer):
    buffer.set(b"kept in here")
    buffer.seek(3)
    ok, message = buffer.set(b"x" * 41)
    assert not ok
    assert message == "41 bytes do not fit into 40 (4 blocks)"
    for content, encoding, error in [
        ("ä", "ascii", UnicodeEncodeError),
        ("a", "no-such-encoding", LookupError),
        (5, "utf8", InvalidType),
        (None, "utf8", InvalidType),
        (["a"], "utf8", InvalidType),
    ]:
        with pytest.raises(error):
            buffer.set(content, encoding)
    assert buffer.tobytes() == b"kept in here"
    assert buffer.tell() == 3


@pytest.mark.parametrize(
    "encoding", ["utf8", "utf-16", "utf-32-le", "latin-1", "gbk", "cp1252", "ascii"]
)
def test_bytes_are_counted_not_characters(buffer, encoding):
    text = {"gbk": "内存缓冲区", "ascii": "memory"}.get(encoding, "Gedächt")
    assert buffer.set(text, encoding) == (True, None)
    assert buffer.tobytes() == text.encode(encoding)
    assert buffer.length() == len(text.encode(encoding))
    long = text * 9
    assert buffer.set(long, encoding)[0] is (len(long.encode(encoding)) <= 40)


class Record(ctypes.Structure):
    _fields_ = [("a", ctypes.c_int32), ("b", ctypes.c_double)]


BYTES = bytes(range(24))
BYTES_LIKES = {
    "bytes": BYTES,
    "bytearray": bytearray(BYTES),
    "view": memoryview(b"##" + BYTES)[2:],
    "every second": memoryview(bytes(x // 2 for x in range(48)))[::2],
    "backwards": memoryview(BYTES[::-1])[::-1],
    "two dimensions": memoryview(BYTES).cast("B", (4, 6)),
    "int32": array.array("i", BYTES),
    "double": array.array("d", BYTES),
    "ctypes array": (ctypes.c_uint16 * 12).from_buffer_copy(BYTES),
    "structure": (Record * 1).from_buffer_copy(BYTES[:16]),
    "nothing": array.array("i"),
    "no dimension": ctypes.c_int64(7),
}


@pytest.mark.parametrize("kind", BYTES_LIKES)
def test_all_that_exports_bytes(buffer, kind):
    content = BYTES_LIKES[kind]
    expected = memoryview(content).tobytes()
    assert buffer.set(content) == (True, None)
    assert buffer.tobytes() == expected
    buffer.clear()
    assert buffer.write(content) == len(expected)
    assert buffer.tobytes() == expected


def test_numpy_in_every_layout(buffer):
    numpy = pytest.importorskip("numpy")
    table = numpy.arange(12, dtype="u1").reshape(3, 4)
    for content in (table, table.T, table[:, ::2], table[::-1], table[:0]):
        buffer.set(content)
        assert buffer.tobytes() == content.tobytes()


def as_ctypes(view):
    """Give the same memory, exported by something else."""
    return (ctypes.c_char * len(view)).from_buffer(view)


@pytest.mark.parametrize("wrap", [memoryview, as_ctypes])
def test_content_may_be_a_piece_of_the_buffer_itself(pool, wrap):
    content = bytes(range(30, 70))
    for start, at in product(range(9), range(0, 33, 4)):
        with pool.acquire(4, contiguous=True) as whole, pool.acquire(4) as parts:
            for buffer in (whole, parts):
                buffer.set(content)
                [view, *_] = buffer.views(start)
                view = view[:8]
                expected = content[:at] + bytes(view) + content[at + len(view) :]
                buffer.seek(at)
                buffer.write(wrap(view))
                assert buffer.tobytes() == expected
                buffer.set(content)
                buffer.set(wrap(buffer.views(start)[0]))
                assert content[start:].startswith(buffer.tobytes())


# Stale content


def test_what_others_had_is_never_shown(pool):
    with pool.acquire(40) as secret:
        secret.set(b"s" * 400)
    with pool.acquire(40) as buffer:
        assert buffer.tobytes() == buffer.read() == buffer.peek() == b""
        assert buffer.views() == buffer.views(0, 400) == []
        assert buffer.get()[0] is False
        target = bytearray(50)
        assert buffer.readinto(target) == 0
        assert target == bytes(50)
        buffer.seek(25)
        buffer.write(b"x")
        assert buffer.tobytes() == bytes(25) + b"x"
        buffer.truncate(5)
        buffer.truncate(30)
        assert buffer.tobytes() == bytes(30)
        assert buffer.file().read() == bytes(4)
        assert buffer.file().getvalue() == bytes(30)


def test_what_was_cut_off_does_not_come_back(buffer):
    buffer.set(b"z" * 40)
    buffer.set(b"ab")
    buffer.seek(6)
    buffer.write(b"cd")
    assert buffer.tobytes() == b"ab\0\0\0\0cd"


# The cursor


def test_cursor(buffer):
    assert buffer.write(b"0123456789") == 10
    assert buffer.write(b"abcdef") == 6
    assert buffer.tell() == 16
    assert buffer.seek(-3, io.SEEK_END) == 13
    assert buffer.peek(2) == b"de"
    assert buffer.read(2) == b"de"
    assert buffer.read() == b"f"
    assert buffer.read() == b""
    assert buffer.seek(8) == 8
    target = bytearray(4)
    assert buffer.readinto(target) == 4
    assert target == b"89ab"
    assert buffer.seek(-1, io.SEEK_CUR) == 11
    buffer.write(b"BCDEFG")
    assert buffer.tobytes() == b"0123456789aBCDEFG"


def test_seek_refuses_what_makes_no_sense(buffer):
    for wrong in ((-1,), (-1, 1), (0, 3), (0, -1)):
        with pytest.raises(InvalidValue):
            buffer.seek(*wrong)
    with pytest.raises(TypeError):
        buffer.seek(0.5)
    assert buffer.seek(1000) == 1000
    assert buffer.read() == b""
    with pytest.raises(BufferOverflow):
        buffer.write(b"x")
    assert buffer.write(b"") == 0
    assert buffer.tobytes() == b""


def test_write_is_all_or_nothing(buffer):
    buffer.write(b"a" * 35)
    with pytest.raises(BufferOverflow, match="41 bytes do not fit into 40"):
        buffer.write(b"b" * 6)
    assert (buffer.tell(), buffer.tobytes()) == (35, b"a" * 35)


def test_truncate_refuses_what_makes_no_sense(buffer):
    buffer.set(b"abc")
    with pytest.raises(InvalidValue):
        buffer.truncate(-1)
    with pytest.raises(BufferOverflow):
        buffer.truncate(41)
    assert buffer.tobytes() == b"abc"


def test_readinto_wants_memory_that_can_be_written(buffer):
    buffer.set(b"abc")
    for target in (b"1234", memoryview(bytearray(8))[::2]):
        with pytest.raises(InvalidType):
            buffer.readinto(target)
    with pytest.raises(InvalidType):
        buffer.readinto("1234")
    assert buffer.tell() == 0
    words = array.array("H", [0, 0])
    assert buffer.readinto(words) == 3
    assert words.tobytes() == b"abc\0"


def test_readinto_a_piece_of_the_buffer_itself(pool):
    content = bytes(range(40))
    with pool.acquire(4, contiguous=True) as buffer:
        buffer.set(content)
        buffer.seek(0)
        [view] = buffer.views(5, 35)
        assert buffer.readinto(view) == 30
        assert buffer.tobytes() == content[:5] + content[:30] + content[35:]


def test_room_is_filled_by_hand(buffer):
    buffer.set(b"0123")
    first, *_ = room = buffer.room()
    assert [len(view) for view in room] == [6, 10, 10, 10]
    first[:3] = b"abc"
    assert buffer.filled(3) == 7
    assert buffer.tobytes() == b"0123abc"
    with pytest.raises(BufferOverflow):
        buffer.filled(34)
    with pytest.raises(InvalidValue):
        buffer.filled(-1)
    assert buffer.filled(33) == 40
    assert buffer.room() == []


def test_a_buffer_is_true_and_cannot_be_pickled(buffer):
    import copy

    assert buffer
    with pytest.raises(TypeError, match="cannot be pickled"):
        copy.copy(buffer)


@pytest.mark.parametrize("face", [BufferPool, AsyncBufferPool])
def test_subclasses_may_give_the_sizes_in_either_order(face):
    class Own(face):
        def __init__(self, *named):
            super().__init__(MEDIUM_BLOCK_SIZE, 7)

    class Named(face):
        def __init__(self, name, blocks):
            super().__init__(pool_size=blocks, block_size=SIZE)

    for pool in (Own(), Own(1, 2, 3)):
        assert pool.stats().total == 7
        assert pool.block_size == MEDIUM_BLOCK_SIZE
    assert Named("a name", 3).stats().total == 3


def test_a_pool_of_more_blocks_than_can_be_listed_is_refused():
    for blocks in (10**15, 10**30):
        with pytest.raises(BufferPoolError, match="blocks"):
            BufferPool(pool_size=blocks, block_size=SMALL_BLOCK_SIZE)

    pool = BufferPool(4, SMALL_BLOCK_SIZE, extendable=True)
    done, message = pool.allocate(10**12)
    assert not done
    assert "4 are free" in message
    assert pool.stats().total == 4


@pytest.mark.parametrize("size", [1.5, "1", None])
def test_a_length_is_an_int(pool, size):
    with pool.acquire() as buffer:
        buffer.set(b"abc")
        for change in (buffer.filled, buffer.truncate):
            with pytest.raises(InvalidType):
                change(size)
        assert buffer.tobytes() == b"abc"


async def test_a_bad_timeout_is_refused_also_where_nothing_waits(pool, anyio_backend):
    for timeout, error in ((float("nan"), InvalidValue), ("1", InvalidType)):
        with pytest.raises(error):
            pool.acquire(1, timeout)
        with pytest.raises(error):
            await pool.aio.acquire(1, timeout)
    assert settled(pool)


@pytest.mark.parametrize("size", ["8", 8.0, None])
def test_a_length_is_a_whole_number(buffer, size):
    buffer.set(b"abc")
    with pytest.raises(InvalidType, match="a size is an int"):
        buffer.truncate(size)
    assert buffer.tobytes() == b"abc"
