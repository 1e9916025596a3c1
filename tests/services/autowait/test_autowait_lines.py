"""Lines found in pieces: the same, however the bytes are cut."""

import re
import time
import warnings
from itertools import pairwise

import pytest
from hypothesis import example, given, settings, strategies as st

from cup.errors import InvalidType, InvalidValue
from cup.services.autowait import RegexInFile
from cup.services.autowait._core_lines import LineSearch, required_literal
from cup.services.autowait._core_tail import Piece

FILE = (1, 2)


def fed(content, cuts=(), pattern="ready", **options):
    """Search content that comes in pieces; give number, offset and line."""
    search = LineSearch(RegexInFile("/x", pattern, **options))
    places = [0, *sorted({cut for cut in cuts if 0 < cut < len(content)}), len(content)]
    for start, end in pairwise(places):
        piece = Piece(content[start:end], start, start == 0, False, FILE)
        found = search.feed(piece)
        if found is not None:
            return found.number, found.offset, found.line
    return None


def expected(content, pattern, count=1, encoding="utf-8"):
    """Say the same in the simplest way: line by line, of all at once."""
    offset = 0
    for number, raw in enumerate(content.split(b"\n"), 1):
        line = raw.decode(encoding, "replace").removesuffix("\r")
        if (number <= content.count(b"\n") or raw) and re.search(pattern, line):
            count -= 1
            if not count:
                return number, offset, line
        offset += len(raw) + 1
    return None


WORDS = st.sampled_from(
    [
        b"ready",
        b"READY",
        b"not ",
        b"x",
        b" ",
        b"\n",
        b"\r\n",
        b"\r",
        b"\xc3\xa9",
        b"\xff",
    ]
)
PATTERNS = [
    "ready",
    "^ready$",
    "x.*ready",
    "é",
    "not|x",
    "(?i)ready",
    "r[e]ad",
    "^$",
    "y$",
]


@given(
    st.lists(WORDS, max_size=30).map(b"".join),
    st.lists(st.integers(0, 60)),
    st.sampled_from(PATTERNS),
    st.integers(1, 3),
)
@settings(max_examples=200, deadline=None)
@example(b"NOT \nready\n", [4], "^ready$", 1)
def test_cuts_do_not_matter_for_whole_lines(content, cuts, pattern, count):
    content += b"\n"
    got = fed(content, cuts, pattern, count=count, whole_lines=True)
    assert got == expected(content, pattern, count)


@given(st.lists(WORDS, max_size=30).map(b"".join), st.sampled_from(PATTERNS))
@settings(max_examples=100, deadline=None)
def test_unfinished_last_line_is_searched(content, pattern):
    if content.endswith(b"\xc3"):
        return
    got = fed(content, (), pattern)
    wanted = expected(content, pattern)
    assert got == wanted or content.endswith((b"\r", b"\xff"))


def test_match_across_two_writes():
    assert fed(b"it is rea" + b"dy now\n", [9]) == (1, 0, "it is ready now")


def test_anchors_see_the_whole_line():
    assert fed(b"NOT READY\n", [4], "^READY$") is None
    assert fed(b"NOT READY\nREADY\n", [4], "^READY$") == (2, 10, "READY")


def test_half_a_character_waits_for_the_other():
    content = "é".encode()
    assert fed(content + b"\n", [1], "^é$") == (1, 0, "é")
    assert fed(content[:1], (), ".") is None
    assert fed(b"\xff\n", (), "\N{REPLACEMENT CHARACTER}") == (1, 0, "\ufffd")


def test_prompt_has_no_line_end():
    assert fed(b"login: ", (), "login: $") == (1, 0, "login: ")
    assert fed(b"login: ", (), "login: $", whole_lines=True) is None


def test_line_is_counted_once_though_it_matched_unfinished():
    content = b"ready\nready\n"
    cuts = list(range(len(content)))
    assert fed(content, cuts, count=2) == (2, 6, "ready")
    assert fed(content, cuts, count=3) is None


@pytest.mark.parametrize(
    ("encoding", "plain"),
    [
        ("utf-16", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
        ("utf-32", "utf-32-le"),
        ("cp1251", "cp1251"),
        ("shift_jis", "shift_jis"),
    ],
)
def test_encodings(encoding, plain):
    content = "один\r\nready: ы\n".encode(encoding)
    cuts = range(1, len(content), 3)
    number, offset, line = fed(content, cuts, "ready: .", encoding=encoding)
    assert (number, line) == (2, "ready: ы")
    before = "один\r\n".encode(plain)
    mark = len("".encode(encoding))  # some begin with one
    assert offset in {len(before), len(before) + mark}
    assert content[len(before) + mark :].decode(plain).startswith("ready")


def test_byte_order_mark_is_no_text():
    assert fed(b"\xef\xbb\xbfready\n", (), "^ready") == (1, 3, "ready")


def test_endless_line_is_linear_and_bounded():
    search = LineSearch(RegexInFile("/x", "never|ready$", window=4096))
    part = b"x" * 262_144
    start = time.perf_counter()
    for n in range(92):  # 24 MB
        assert search.feed(Piece(part, n * len(part), n == 0, False, FILE)) is None
        assert len(search._carry) <= 4096
    assert time.perf_counter() - start < 5
    found = search.feed(Piece(b" ready", 92 * len(part), False, False, FILE))
    assert found.line.endswith("x ready")
    assert found.number == 1


def test_begin_of_a_cut_line_is_no_begin():
    search = LineSearch(RegexInFile("/x", "^x", window=16))
    assert search.feed(Piece(b"y" + b"x" * 40, 0, True, False, FILE)) is None
    assert search.feed(Piece(b"xxx", 41, False, False, FILE)) is None
    assert search.feed(Piece(b"\nx", 44, False, False, FILE)).number == 2


def test_from_the_middle_of_a_line():
    search = LineSearch(RegexInFile("/x", "^ready"))
    assert search.feed(Piece(b"ready\n", 10, True, True, FILE)) is None
    assert search.feed(Piece(b"ready\n", 16, False, False, FILE)).offset == 16


@pytest.mark.parametrize(
    ("pattern", "literal"),
    [
        ("ready", "ready"),
        ("^ready$", "ready"),
        ("listening on [0-9]+", "listening on "),
        (r"\d+ done", " done"),
        ("abcd*", "abc"),
        ("abcd+", "abcd"),
        ("abcd{0,3}efgh", "efgh"),
        ("(abcdef)?xyz", "xyz"),
        ("[]abcdef]xyz", "xyz"),
        (r"[^\]abcd]xyz", "xyz"),
        ("ab|cdefg", ""),
        ("(?i)ready", ""),
        ("(?x) re ady", ""),
        (r"\bready\b", "ready"),
        (r"\x41bcdef", ""),
        (r"\u0041bcdef", ""),
        (r"\101 ready", " ready"),
        (r"is\x20ready", "ready"),
        ("\N{REPLACEMENT CHARACTER} ready", ""),
        (r"a\.b", ""),
        ("ab", ""),
    ],
)
def test_text_that_a_pattern_needs(pattern, literal):
    assert required_literal(re.compile(pattern)) == literal


@given(
    st.from_regex(r"[ab\[\]()*+?{}|\\.^$\d,-]{1,12}", fullmatch=True),
    st.text("ab.-,01[]"),
)
@settings(max_examples=150, deadline=None)
def test_text_that_a_pattern_needs_is_in_what_it_matches(pattern, text):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what may mean something else one day
            compiled = re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        return
    match = compiled.search(text)
    if match is not None:
        assert required_literal(compiled) in text


def test_existing_content_is_searched_fast():
    content = b"2026-01-01 12:00:00 INFO something happened here\n" * 200_000
    search = LineSearch(RegexInFile("/x", "^READY to serve$"))
    start = time.perf_counter()
    for at in range(0, len(content), 262_144):
        piece = Piece(content[at : at + 262_144], at, at == 0, False, FILE)
        assert search.feed(piece) is None
    assert len(content) / (time.perf_counter() - start) > 50e6  # bytes a second
    assert search.number == 200_000


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"pattern": b"x"}, InvalidType),
        ({"count": 0}, InvalidValue),
        ({"window": 3}, InvalidValue),
        ({"start": "middle"}, InvalidValue),
        ({"encoding": "no-such"}, InvalidValue),
        ({"pattern": "("}, re.error),
    ],
)
def test_nonsense_is_refused(options, error):
    with pytest.raises(error):
        RegexInFile("/x", **{"pattern": "x", **options})
