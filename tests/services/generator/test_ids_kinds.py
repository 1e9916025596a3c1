"""Each kind of identifier by itself: its form, its order, what it tells."""

import copy
import pickle
import re
import threading
import time
import uuid
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings, strategies as st
from id_tools import FakeClock, in_threads

from cup.errors import InvalidId, InvalidType, InvalidValue, TimelessId
from cup.services.generator import (
    DISCORD,
    INSTAGRAM,
    LAYOUTS,
    SONY,
    TWITTER,
    CachedUUID,
    CounterGenerator,
    CycleIDGenerator,
    Layout,
    NameGenerator,
    RandomGenerator,
    SnowflakeGenerator,
    StaticWorker,
    ULIDGenerator,
    UUID4Generator,
    UUID7Generator,
)

UTC = timezone.utc


@pytest.fixture
def make(tmp_path):
    """Make a generator of each kind by its name."""
    kinds = {
        "uuid7": UUID7Generator,
        "uuid4": UUID4Generator,
        "ulid": ULIDGenerator,
        "snowflake": lambda: SnowflakeGenerator(StaticWorker(5, directory=tmp_path)),
        "counter": CounterGenerator,
        "file": lambda: CounterGenerator(path=tmp_path / "count"),
        "name": lambda: NameGenerator("we_b"),
        "random": RandomGenerator,
        "cycle": lambda: CycleIDGenerator("10.1.2.3", 8080),
        "cached1": lambda: CachedUUID(0),
        "cached4": lambda: CachedUUID(1),
    }
    return lambda kind: kinds[kind]()


KINDS = [
    *("uuid7", "uuid4", "ulid", "snowflake", "counter", "file"),
    *("name", "random", "cycle", "cached1", "cached4"),
]
ORDERED = ["uuid7", "ulid", "snowflake", "counter", "file", "name", "cycle"]
TIMED = ["uuid7", "ulid", "snowflake"]


# Every kind


@pytest.mark.parametrize("kind", KINDS)
def test_ids_differ_and_are_read_back(make, kind):
    ids = make(kind)
    made = [ids.next_id() for _ in range(300)] + ids.next_ids(3000)
    made += [next(ids), *(id_ for id_, _ in zip(ids, range(5), strict=False))]
    assert len(set(made)) == len(made)
    for id_ in made[::100]:
        told = ids.parse(id_)
        assert ids.parse(told.text).text == told.text
    assert ids.next_ids(0) == []
    assert type(ids).__name__ in repr(ids)
    assert ids.stats().kind


@pytest.mark.parametrize("kind", ORDERED)
def test_order_is_strict_over_single_and_many(make, kind):
    ids = make(kind)
    made = []
    for n in range(50):
        made.append(ids.next_id())
        made += ids.next_ids(n * 7)
    assert made == sorted(made)
    assert len(set(made)) == len(made)


@pytest.mark.parametrize("kind", KINDS)
def test_threads_get_no_id_twice(make, kind):
    ids = make(kind)

    def draw(_):
        return [ids.next_id() for _ in range(2000)] + ids.next_ids(2000)

    made = in_threads(4, draw)
    if kind in ORDERED:
        assert all(mine == sorted(mine) for mine in made)
    assert len({id_ for mine in made for id_ in mine}) == 4 * 4000


@pytest.mark.parametrize("kind", ORDERED)
def test_order_holds_across_threads(make, kind):
    """Who draws after another has returned gets the greater one."""
    ids = make(kind)
    last = [ids.next_id()]
    turn = threading.Lock()

    def draw(_):
        for _ in range(1500):
            with turn:
                id_ = ids.next_id()
                assert id_ > last[0]
                last[0] = id_

    in_threads(4, draw)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [-1, 1.5, "3", None, True])
def test_bad_number_of_ids_is_refused(make, kind, bad):
    with pytest.raises((ValueError, TypeError)):
        make(kind).next_ids(bad)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", ["", "nonsense!", -1, 1 << 130, 1.5, None, b"x"])
def test_nonsense_is_not_read(make, kind, bad):
    ids = make(kind)
    with pytest.raises((InvalidId, InvalidType)):
        ids.parse(bad)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_generator_cannot_be_copied(make, kind, copied):
    with pytest.raises(TypeError):
        copied(make(kind))


@pytest.mark.parametrize("kind", sorted(set(KINDS) - set(TIMED)))
def test_timeless_kinds_have_no_bounds(make, kind):
    with pytest.raises(TimelessId):
        make(kind).bounds(time.time())


@pytest.mark.parametrize("kind", TIMED)
def test_time_and_bounds(make, kind):
    ids = make(kind)
    before = time.time()
    made = ids.next_ids(5)
    after = time.time()
    told = ids.parse(made[0]).time
    assert before - 0.011 <= told.timestamp() <= after
    assert ids.bounds(before)[0] <= made[0] <= made[-1] <= ids.bounds(after)[1]
    least, greatest = ids.bounds(datetime(2030, 1, 1, tzinfo=UTC))
    assert ids.parse(least).time == ids.parse(greatest).time
    assert ids.parse(least).time == datetime(2030, 1, 1, tzinfo=UTC)
    assert greatest < ids.bounds(datetime(2030, 1, 1, 0, 0, 1, tzinfo=UTC))[0]
    for bad in (datetime(2030, 1, 1), float("nan"), -1e12, 1e300):  # noqa: DTZ001
        with pytest.raises((ValueError, OverflowError)):
            ids.bounds(bad)
    with pytest.raises(TypeError):
        ids.bounds("2030")


# UUIDs


def test_uuid7_is_as_the_rfc_says():
    clock = FakeClock(1645557742.000)  # the example of RFC 9562, appendix A.6
    made = UUID7Generator(clock=clock).next_ids(2000)
    for id_ in made[::50]:
        assert (id_.version, id_.variant) == (7, uuid.RFC_4122)
        assert id_.hex.startswith("017f22e279b0")
        assert id_ == uuid.UUID(str(id_))
        assert hash(id_) == hash(uuid.UUID(str(id_)))
        assert id_.is_safe is uuid.SafeUUID.unknown
    assert len({id_.int & 0xFFFFFFFF for id_ in made}) > 1990  # the tail is random


def test_uuid7_numbers():
    ids = UUID7Generator()
    one, many = ids.next_int(), ids.next_ints(1500)
    assert len(many) == 1500
    assert [one, *many] == sorted({one, *many})
    assert ids.parse(uuid.UUID(int=one)).number == one


def test_uuid7_counter_carries_over_the_variant():
    ids = UUID7Generator(clock=FakeClock())
    first = ids.next_id()
    run = ids._run
    run.numbers = type(run.numbers)(run.end - 2)
    made = [ids.next_id() for _ in range(5)]
    assert [first, *made] == sorted({first, *made})
    assert all((id_.version, id_.variant) == (7, uuid.RFC_4122) for id_ in made)
    assert {id_.int >> 80 for id_ in made} == {first.int >> 80}


def test_uuid4_is_as_the_rfc_says():
    made = [UUID4Generator().next_id() for _ in range(5)] + UUID4Generator().next_ids(9)
    assert all((id_.version, id_.variant) == (4, uuid.RFC_4122) for id_ in made)
    assert all(id_ == uuid.UUID(str(id_)) for id_ in made)
    ones = [0] * 128
    for number in (UUID4Generator().next_int() for _ in range(2000)):
        for bit in range(128):
            ones[bit] += number >> bit & 1
    fixed = {62, 63, *range(76, 80)}
    assert all(800 < count < 1200 for bit, count in enumerate(ones) if bit not in fixed)


def test_uuids_of_other_versions_are_not_read():
    with pytest.raises(InvalidId, match="version 4, not 7"):
        UUID7Generator().parse(uuid.uuid4())
    with pytest.raises(InvalidId, match="variant"):
        UUID4Generator().parse(uuid.UUID(int=0))


# ULIDs


def test_ulid_is_as_its_specification_says():
    clock = FakeClock(1469918176.385)  # the example of the specification: 01ARYZ6S41...
    ids = ULIDGenerator(clock=clock)
    made = ids.next_ids(1000)
    assert all(re.fullmatch("01ARYZ6S41[0-9A-HJKMNP-TV-Z]{16}", id_) for id_ in made)
    numbers = [ids.parse(id_).number for id_ in made]
    assert numbers == list(range(numbers[0], numbers[0] + 1000))
    assert ids.from_uuid(ids.to_uuid(made[0])) == made[0]


def test_ulid_carries_beyond_its_last_letters():
    ids = ULIDGenerator(clock=FakeClock())
    first = ids.next_id()
    ids._run.numbers = type(ids._run.numbers)(ids._run.end - 2)
    made = [ids.next_id() for _ in range(5)]
    numbers = [ids.parse(id_).number for id_ in made]
    assert numbers == list(range(numbers[0], numbers[0] + 5))
    assert made[0] > first


@pytest.mark.parametrize(
    "bad", ["8" + "Z" * 25, "0" * 25, "U" * 26, "0" * 27, "é" * 26]
)
def test_what_is_no_ulid(bad):
    with pytest.raises(InvalidId):
        ULIDGenerator().parse(bad)


@given(st.integers(0, (1 << 128) - 1))
def test_ulid_text_and_number_agree(number):
    text = ULIDGenerator.from_uuid(uuid.UUID(int=number))
    assert ULIDGenerator.to_uuid(text).int == number
    assert ULIDGenerator.to_uuid(text.lower()).int == number


def test_ulid_reads_letters_that_look_alike():
    ids = ULIDGenerator()
    assert ids.parse("0l" + "O" * 24).text == "01" + "0" * 24


# Snowflakes


def test_layouts_are_those_of_their_makers():
    # Documented examples: Discord's API reference; Twitter's epoch is tweet 0.
    assert DISCORD.split(175928847299117063)[1:] == (32, 7)
    tick = DISCORD.split(175928847299117063)[0]
    assert tick == 1462015105796
    assert TWITTER.compose(1288834974657 + 1, 3, 4) == 1 << 22 | 3 << 12 | 4
    sony = SONY.compose(SONY.first_tick + 1, 3, 4)
    assert sony == 1 << 24 | 4 << 16 | 3
    assert INSTAGRAM.compose(INSTAGRAM.first_tick + 1, 3, 4) == 1 << 23 | 3 << 10 | 4


@pytest.mark.parametrize("name", LAYOUTS)
def test_layout_has_room_and_an_end(name):
    layout = LAYOUTS[name]
    room = layout.capacity()
    assert room.workers == layout.workers == 1 << layout.worker_bits
    assert room.in_all == room.per_second * room.workers
    assert room.expires_at.year in {2046, 2080, 2084, 2188, 2189}
    last = layout.compose(
        layout.first_tick + (1 << layout.time_bits) - 1,
        layout.workers - 1,
        room.per_tick - 1,
    )
    assert last < 1 << 63


@settings(max_examples=60)
@given(st.data())
def test_layout_round_trip(data):
    worker = data.draw(st.integers(0, 20))
    sequence = data.draw(st.integers(0, 20))
    layout = Layout(
        epoch=datetime(2020, 1, 1, tzinfo=UTC),
        unit=timedelta(
            microseconds=data.draw(st.sampled_from([1000, 10_000, 250_000]))
        ),
        time_bits=data.draw(st.integers(1, 63 - worker - sequence)),
        worker_bits=worker,
        sequence_bits=sequence,
        sequence_first=data.draw(st.booleans()),
    )
    parts = (
        layout.first_tick + data.draw(st.integers(0, (1 << layout.time_bits) - 1)),
        data.draw(st.integers(0, (1 << worker) - 1)),
        data.draw(st.integers(0, (1 << sequence) - 1)),
    )
    number = layout.compose(*parts)
    assert 0 <= number < 1 << 63
    assert layout.split(number) == parts


@pytest.mark.parametrize(
    "options",
    [
        {"time_bits": 42},
        {"time_bits": 0},
        {"worker_bits": -1},
        {"unit": timedelta(0)},
        {"epoch": datetime(2020, 1, 1)},  # noqa: DTZ001
        {"epoch": datetime(2020, 1, 1, 0, 0, 0, 1, tzinfo=UTC)},
        {"unit": 1},
        {"epoch": 0},
        {"sequence_bits": 1.5},
    ],
)
def test_bad_layout_is_refused(options):
    with pytest.raises((ValueError, TypeError)):
        Layout(**{"epoch": datetime(2020, 1, 1, tzinfo=UTC), **options})


def test_snowflake_text_sorts(tmp_path):
    ids = SnowflakeGenerator(StaticWorker(5, directory=tmp_path))
    number = ids.next_id()
    assert ids.text_of(number) == str(number).zfill(19)
    assert ids.parse(ids.text_of(number)).worker == 5
    assert ids.text_of(5) < ids.text_of(1 << 62)


def test_end_of_a_layout_is_announced_and_enforced(tmp_path):
    layout = Layout(epoch=datetime(2020, 1, 1, tzinfo=UTC), time_bits=35)
    clock = FakeClock(layout.expires_at.timestamp() - 86400 * 300)
    with pytest.warns(RuntimeWarning, match="in 300 days"):
        ids = SnowflakeGenerator(
            StaticWorker(5, directory=tmp_path), layout=layout, clock=clock
        )
    ids.next_id()
    assert ids.expires_at == layout.expires_at
    clock.step(86400 * 301)
    with pytest.raises(OverflowError, match="lasts from"):
        ids.next_id()
    with pytest.raises(OverflowError):
        ids.bounds(clock.now)


# Counters, names, random strings


def test_counter_counts():
    ids = CounterGenerator(step=10)
    assert [ids.next_id() for _ in range(25)] == list(range(25))
    assert ids.next_ids(25) == list(range(25, 50))
    assert CounterGenerator(7).next_id() == 7


def test_counter_in_a_file_goes_on(tmp_path):
    path = tmp_path / "count"
    first = CounterGenerator(100, path=path, step=10)
    assert first.next_ids(15) == list(range(100, 115))
    other = CounterGenerator(path=str(path), step=10)
    assert other.next_id() == 120
    assert first.next_ids(6)[-1] == 130
    assert int(path.read_text()) == 140


def test_counter_ends_before_it_overflows():
    ids = CounterGenerator((1 << 62), step=1 << 62)
    assert ids.next_id() == 1 << 62
    ids._run.full = True
    ids._run.end = 0
    with pytest.raises(OverflowError):
        ids.next_id()


@pytest.mark.parametrize(
    "options", [{"start": -1}, {"step": 0}, {"start": 1.5}, {"path": 5}]
)
def test_bad_counter_is_refused(options):
    with pytest.raises((ValueError, TypeError)):
        CounterGenerator(**options)


def test_counter_refuses_a_file_of_something_else(tmp_path):
    path = tmp_path / "count"
    path.write_text("not a number")
    with pytest.raises(RuntimeError, match="no number"):
        CounterGenerator(path=path)
    with pytest.raises(ValueError, match="cannot keep numbers"):
        CounterGenerator(path=tmp_path / "missing" / "count")


def test_name_tells_its_parts():
    told = NameGenerator("a_b").parse(NameGenerator("a_b").next_id())
    assert (told.origin, told.sequence) == ("a_b", 0)
    assert abs(told.time.timestamp() - time.time()) < 60


@given(
    st.integers(1, 60), st.lists(st.characters(), min_size=2, max_size=256, unique=True)
)
@settings(max_examples=30)
def test_random_strings_have_their_letters(length, letters):
    ids = RandomGenerator(length, "".join(letters))
    made = ids.next_id()
    assert len(made) == length
    assert set(made) <= set(letters)
    assert ids.parse(made).text == made


def test_random_letters_are_equally_likely():
    text = "".join(RandomGenerator(1000, "abcdefghijk").next_ids(60))
    counts = [text.count(letter) for letter in "abcdefghijk"]
    assert max(counts) < 1.15 * min(counts)


@pytest.mark.parametrize(
    ("length", "alphabet"), [(0, "ab"), (5, "a"), (5, "aa"), (5, 7)]
)
def test_bad_random_strings_are_refused(length, alphabet):
    with pytest.raises((ValueError, TypeError)):
        RandomGenerator(length, alphabet)


def test_bad_arguments_of_timed_kinds(tmp_path):
    with pytest.raises(InvalidValue):
        UUID7Generator(policy="hope")
    with pytest.raises(InvalidValue):
        ULIDGenerator(max_ahead=float("nan"))
    with pytest.raises(TypeError):
        UUID7Generator(clock=5)
    with pytest.raises(TypeError):
        SnowflakeGenerator("5")
    with pytest.raises(TypeError):
        SnowflakeGenerator(5, layout="twitter")
    with pytest.raises(InvalidValue):
        SnowflakeGenerator(-1)
    with pytest.raises(InvalidValue, match="1024 workers"):
        SnowflakeGenerator(StaticWorker(1024, directory=tmp_path)).next_id()


@pytest.mark.parametrize("kind", ["uuid7", "ulid", *LAYOUTS])
def test_bounds_of_the_time_that_an_id_tells_hold_it(kind):
    ids = {"uuid7": UUID7Generator, "ulid": ULIDGenerator}.get(kind)
    ids = SnowflakeGenerator(5, layout=LAYOUTS[kind]) if ids is None else ids()
    begin = datetime(2040, 1, 1, tzinfo=UTC)
    for step in range(2000):
        moment = begin + timedelta(milliseconds=10 * 7919 * step)
        least, greatest = ids.bounds(moment)
        assert ids.parse(least).time == moment
        assert ids.bounds(ids.parse(greatest).time) == (least, greatest)
        assert ids.bounds(moment.timestamp()) == (least, greatest)


def test_the_example_of_the_rfc_tells_its_time():
    """The UUID of version 1 that RFC 9562 prints in its appendix A."""
    parsed = CachedUUID().parse("c232ab00-9414-11ec-b3c8-9f6bdeced846")
    assert parsed.kind == "uuid1"
    assert parsed.time == datetime(2022, 2, 22, 19, 22, 22, tzinfo=UTC)


def test_long_text_is_refused_in_part(make):
    with pytest.raises(InvalidId, match="too long") as caught:
        make("snowflake").parse("1" * 100_000)
    assert len(str(caught.value)) < 200
