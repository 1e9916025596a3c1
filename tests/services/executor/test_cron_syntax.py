"""What cron expressions mean, and what is said of those that mean nothing."""

import random
import string
from datetime import date, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from cron_tools import Spec, number_field, random_spec
from hypothesis import given, strategies as st

from cup.errors import CronError, InvalidType
from cup.services.executor import Cron

UTC = timezone.utc
START = datetime(2026, 1, 1, tzinfo=UTC)  # a Thursday


def days(expr, count=6, start=START):
    """Give the days of the next runs."""
    runs = Cron(expr).upcoming(start - timedelta(seconds=1))
    return [f"{next(runs):%m-%d}" for _ in range(count)]


def times(expr, count=4, start=START):
    """Give the times of day of the next runs."""
    runs = Cron(expr).upcoming(start - timedelta(seconds=1))
    return [f"{next(runs):%H:%M:%S}" for _ in range(count)]


# Fields


@pytest.mark.parametrize(
    ("expr", "wanted"),
    [
        ("*/20 * * * *", "00:00:00 00:20:00 00:40:00 01:00:00"),
        ("5/20 * * * *", "00:05:00 00:25:00 00:45:00 01:05:00"),
        ("7,3-5 0 * * *", "00:03:00 00:04:00 00:05:00 00:07:00"),
        ("0 22-2 * * *", "00:00:00 01:00:00 02:00:00 22:00:00"),
        ("0 22-2/2 * * *", "00:00:00 02:00:00 22:00:00 00:00:00"),
        ("58-1 0 * * *", "00:00:00 00:01:00 00:58:00 00:59:00"),
        ("0 9-17/4 * * *", "09:00:00 13:00:00 17:00:00 09:00:00"),
        ("*/60 * * * *", "00:00:00 01:00:00 02:00:00 03:00:00"),
        ("05 007 * * *", "07:05:00 07:05:00 07:05:00 07:05:00"),
        ("30 0 0 * * *", "00:00:30 00:00:30 00:00:30 00:00:30"),
        ("*/30 * * * * *", "00:00:00 00:00:30 00:01:00 00:01:30"),
        ("59 59 23 * * *", "23:59:59 23:59:59 23:59:59 23:59:59"),
    ],
)
def test_times(expr, wanted):
    assert times(expr) == wanted.split()


@pytest.mark.parametrize(
    ("expr", "wanted"),
    [
        ("0 0 * * MON", "01-05 01-12 01-19 01-26 02-02 02-09"),
        ("0 0 * * 0", "01-04 01-11 01-18 01-25 02-01 02-08"),
        ("0 0 * * 7", "01-04 01-11 01-18 01-25 02-01 02-08"),
        ("0 0 * * 7-7", "01-04 01-11 01-18 01-25 02-01 02-08"),
        ("0 0 * * fri-Mon", "01-02 01-03 01-04 01-05 01-09 01-10"),
        ("0 0 * * 5-7", "01-02 01-03 01-04 01-09 01-10 01-11"),
        ("0 0 * * SAT-SUN", "01-03 01-04 01-10 01-11 01-17 01-18"),
        ("0 0 * * 0-7", "01-01 01-02 01-03 01-04 01-05 01-06"),
        ("0 0 * * 0-7/3", "01-03 01-04 01-07 01-10 01-11 01-14"),
        ("0 0 * * SUN-7", "01-01 01-02 01-03 01-04 01-05 01-06"),
        ("0 0 * * 1/2", "01-02 01-05 01-07 01-09 01-12 01-14"),
        ("0 0 * * */2", "01-01 01-03 01-04 01-06 01-08 01-10"),
        ("0 0 1 FEB,dec,4-5 *", "02-01 04-01 05-01 12-01 02-01 04-01"),
        ("0 0 1 NOV-FEB *", "01-01 02-01 11-01 12-01 01-01 02-01"),
        ("0 0 1 11-2/3 *", "02-01 11-01 02-01 11-01 02-01 11-01"),
        ("0 0 L * *", "01-31 02-28 03-31 04-30 05-31 06-30"),
        ("0 0 L-2 * *", "01-29 02-26 03-29 04-28 05-29 06-28"),
        ("0 0 1,L * *", "01-01 01-31 02-01 02-28 03-01 03-31"),
        ("0 0 LW * *", "01-30 02-27 03-31 04-30 05-29 06-30"),
        ("0 0 WL * *", "01-30 02-27 03-31 04-30 05-29 06-30"),
        ("0 0 1W * *", "01-01 02-02 03-02 04-01 05-01 06-01"),
        ("0 0 15W * *", "01-15 02-16 03-16 04-15 05-15 06-15"),
        ("0 0 30W * *", "01-30 03-30 04-30 05-29 06-30 07-30"),
        ("0 0 31W * *", "01-30 03-31 05-29 07-31 08-31 10-30"),
        ("0 0 31 * *", "01-31 03-31 05-31 07-31 08-31 10-31"),
        ("0 0 L-30 * *", "01-01 03-01 05-01 07-01 08-01 10-01"),
        ("0 0 * * MON#1", "01-05 02-02 03-02 04-06 05-04 06-01"),
        ("0 0 * * 7#5", "03-29 05-31 08-30 11-29 01-31 05-30"),
        ("0 0 * * 1#2,3#1", "01-07 01-12 02-04 02-09 03-04 03-09"),
        ("0 0 * * 1#1,FRI", "01-02 01-05 01-09 01-16 01-23 01-30"),
        ("0 0 * * 5L", "01-30 02-27 03-27 04-24 05-29 06-26"),
        ("0 0 * * L5", "01-30 02-27 03-27 04-24 05-29 06-26"),
        ("0 0 * * FRIL", "01-30 02-27 03-27 04-24 05-29 06-26"),
        ("@monthly", "01-01 02-01 03-01 04-01 05-01 06-01"),
        ("@weekly", "01-04 01-11 01-18 01-25 02-01 02-08"),
    ],
)
def test_days(expr, wanted):
    assert days(expr) == wanted.split()


@pytest.mark.parametrize(
    ("expr", "wanted"),
    [
        ("0 0 13 * FRI", "01-02 01-09 01-13 01-16 01-23 01-30"),  # one is enough
        ("0 0 */10 * MON", "05-11 06-01 08-31 09-21 12-21 01-11"),  # both
        ("0 0 */10,1 * MON", "05-11 06-01 08-31 09-21 12-21 01-11"),
        ("0 0 1,*/10 * MON", "01-01 01-05 01-11 01-12 01-19 01-21"),  # the first letter
        ("0 0 1 * */2", "01-01 02-01 03-01 08-01 09-01 10-01"),
        ("0 0 1 * MON#1", "01-01 01-05 02-01 02-02 03-01 03-02"),
        ("0 0 15 */2 2#2", "01-13 01-15 03-10 03-15 05-12 05-15"),  # croniter: BadDate
        ("0 0 31 2 0", "02-01 02-08 02-15 02-22 02-07 02-14"),  # Sundays are enough
        ("0 0 1-31 * MON", "01-01 01-02 01-03 01-04 01-05 01-06"),
    ],
)
def test_day_of_month_and_day_of_week(expr, wanted):
    assert days(expr) == wanted.split()


@pytest.mark.parametrize(
    ("alias", "meaning"),
    [
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        ("@monthly", "0 0 1 * *"),
        ("@weekly", "0 0 * * 0"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        (" @Hourly ", "0 * * * *"),
    ],
)
def test_aliases(alias, meaning):
    assert Cron(alias) == Cron(meaning)
    assert str(Cron(alias)) == alias.strip().upper()
    assert Cron(alias, name="croniter would spread this") == Cron(meaning)


def test_blanks_and_case_do_not_count():
    assert str(Cron("  0\t0 *\n jan   mon ")) == "0 0 * JAN MON"
    assert Cron("0 0 * jan mon") == Cron("0 0 * JAN MON") == Cron("0 0 * 1 1")


def test_leap_day_on_a_weekday_is_far():
    fifth = Cron("0 0 * 2 MON#5").upcoming(datetime(2072, 3, 1, tzinfo=UTC))
    assert f"{next(fifth):%F}" == "2112-02-29"
    leap = Cron("0 0 29 2 *").upcoming(datetime(2096, 3, 1, tzinfo=UTC))
    assert f"{next(leap):%F}" == "2104-02-29"


# Spread by a name


def test_hash_is_the_same_for_ever():
    found = [f"{Cron('H H * * *', name=name).next(START):%H:%M}" for name in "abc"]
    assert found == ["05:03", "10:27", "07:20"]


def test_hash_stays_in_its_range():
    for number in range(200):
        name = f"job {number}"
        run = Cron("H(10-19) H(2-4) H H H", name=name).next(START)
        assert 10 <= run.minute <= 19
        assert 2 <= run.hour <= 4
        monthly = Cron("H H H * *", name=name)
        months = range(12)
        assert [
            run.month for _, run in zip(months, monthly.upcoming(START), strict=False)
        ] == [
            *range(monthly.next(START).month, 13),
            *range(1, monthly.next(START).month),
        ]


def test_hash_spreads():
    minutes = [Cron("H * * * *", name=f"{n}").next(START).minute for n in range(6000)]
    assert all(60 < minutes.count(minute) < 150 for minute in range(60))
    both = {
        (run.hour, run.minute)
        for n in range(300)
        for run in [Cron("H H * * *", name=f"{n}").next(START)]
    }
    assert len(both) > 250  # the fields do not follow one another


def test_hash_with_steps():
    for n in range(50):
        runs = Cron("H/15 * * * *", name=f"{n}").upcoming(START)
        minutes = [next(runs).minute for _ in range(4)]
        assert max(minutes) - min(minutes) == 45
        runs = Cron("H(0-29)/10 3 * * *", name=f"{n}").upcoming(START)
        minutes = [next(runs).minute for _ in range(3)]
        assert [b - a for a, b in pairwise(minutes)] == [10, 10]
        assert minutes[0] < 10


def test_name_counts_only_where_it_spreads():
    assert Cron("0 0 * * *", name="a") == Cron("0 0 * * *", name="b")
    assert Cron("H 0 * * *", name="a") != Cron("H 0 * * *", name="b")


# What is refused


@pytest.mark.parametrize(
    ("expr", "field", "why"),
    [
        ("60 * * * *", "minute", "give 0 to 59"),
        ("* 24 * * *", "hour", "'24': give 0 to 23"),
        ("* * 0 * *", "day of month", "give 1 to 31"),
        ("* * * 13 *", "month", "give 1 to 12 or JAN to DEC"),
        ("* * * * 8", "day of week", r"give 0 to 6 or SUN to SAT \(7 is Sunday, too\)"),
        ("60 * * * * *", "second", "give 0 to 59"),
        ("-5 * * * *", "minute", "'-5': give"),
        ("1-2-3 * * * *", "minute", "'1-2-3': give"),
        ("5- * * * *", "minute", "give 0 to 59"),
        ("5-70 * * * *", "minute", "give 0 to 59"),
        ("*/0 * * * *", "minute", "the step '0' must be 1 to 60"),
        (
            "*/90 * * * *",
            "minute",
            "'90' must be 1 to 60: it starts anew with each hour",
        ),
        ("*/x * * * *", "minute", "the step 'X' must be"),
        ("*/ * * * *", "minute", "the step '' must be"),
        ("1/2/3 * * * *", "minute", "'1/2/3'"),
        ("1,,2 * * * *", "minute", "nothing stands before or after a comma"),
        (", * * * *", "minute", "nothing stands"),
        ("*5 * * * *", "minute", r"'\*5': give 0 to 59"),
        ("**/2 * * * *", "minute", "give 0 to 59"),
        ("MON * * * *", "minute", "'MON': give 0 to 59"),
        ("* * * MONDAY *", "month", "give 1 to 12"),
        ("* * * * MONDAY", "day of week", "give 0 to 6"),
        ("٣ * * * *", "minute", "give 0 to 59"),
        ("² * * * *", "minute", "give 0 to 59"),
        ("0000000003 * * * *", "minute", "give 0 to 59"),
        ("9" * 5000 + " * * * *", "minute", "give 0 to 59"),
        ("+5 * * * *", "minute", "give 0 to 59"),
        ("1_0 * * * *", "minute", "give 0 to 59"),
        ("L * * * *", "minute", "give 0 to 59"),
        ("* * L-31 * *", "day of month", "L-1 to L-30"),
        ("* * L-x * *", "day of month", "write L, L-3, LW or 15W"),
        ("* * 32W * *", "day of month", "give 1 to 31"),
        ("* * 0W * *", "day of month", "give 1 to 31"),
        ("* * 1-5W * *", "day of month", "write L, L-3, LW or 15W"),
        ("* * WED * *", "day of month", "write L"),
        ("* * ? * *", "day of month", r"'\?' is Quartz's; write '\*'"),
        ("* * * * ?", "day of week", "0 or 7 is Sunday"),
        ("* * * * L", "day of week", "L needs a day here"),
        ("* * * * 5L-6", "day of week", "give 0 to 6"),
        ("* * * * L5L", "day of week", "give 0 to 6"),
        ("* * * * MON#0", "day of week", "write MON#1 to MON#5"),
        ("* * * * MON#6", "day of week", "write MON#1 to MON#5"),
        ("* * * * MON##1", "day of week", "write MON#1 to MON#5"),
        ("* * * * #1", "day of week", "'#1': give 0 to 6"),
        ("* * * * MON-FRI#1", "day of week", "give 0 to 6"),
        ("H * * * *", "minute", "there is none: give `name`"),
        ("@reboot", "", "run the job when the program starts"),
        ("@fortnightly", "", "is unknown; there are @annually, @daily"),
        ("", "", "has 0 fields; give 5"),
        ("* * * *", "", "has 4 fields"),
        ("* * * * * * *", "", "has 7 fields"),
        ("@daily *", "", "is unknown"),
        ("0 0 31 2 *", "day of month", "'31': no month of '2' has such a day"),
        ("0 0 30,31 FEB *", "day of month", "no month of 'FEB'"),
        ("0 0 31 4,6,9,11 *", "day of month", "never comes"),
        ("0 0 31W 2,4 *", "day of month", "never comes"),
        ("0 0 L-29 2 *", "day of month", "never comes"),
        (
            "0 0 */30 2 MON#5",
            "day of month",
            "with day of week 'MON#5', no month of '2'",
        ),
        ("0 0 */2 * MON#1 *", "month", "give 1 to 12"),
    ],
)
def test_nonsense_is_refused(expr, field, why):
    with pytest.raises(CronError, match=why) as caught:
        Cron(expr)
    assert caught.value.field == field
    assert isinstance(caught.value, ValueError)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("field", "why"),
    [
        ("H(1-99)", "give 0 to 59"),
        ("H(9-1)", "must not run backwards"),
        ("H()", "write H, H/15"),
        ("H5", "write H, H/15"),
        ("H/0", "the step '0' must be 1 to 60"),
        ("H(0-9)/11", "the step '11' must be 1 to 10"),
    ],
)
def test_bad_hashes_are_refused(field, why):
    with pytest.raises(CronError, match=why):
        Cron(f"{field} * * * *", name="job")


@pytest.mark.parametrize("expr", [None, 5, b"* * * * *", ["*"] * 5])
def test_other_types_are_refused(expr):
    with pytest.raises(InvalidType, match="is a string"):
        Cron(expr)
    with pytest.raises(InvalidType, match="is a string"):
        Cron("* * * * *", name=5)


def test_possible_days_are_taken():
    for expr in ["0 0 29 2 *", "0 0 31 2,3 *", "0 0 L-28 2 *", "0 0 */28 2 SUN#5"]:
        assert Cron(expr).next(START)


# Any text


@given(st.randoms(use_true_random=False))
def test_what_is_drawn_is_read(draw):
    spec = random_spec(draw)
    cron = Cron(spec.text)
    assert Cron(str(cron)) == cron
    assert hash(Cron(str(cron))) == hash(cron)
    assert str(cron) == spec.text
    run = cron.next(START)
    assert spec.has(run.replace(tzinfo=None))


PIECES = [*"0123456789*/-,LW#H? ", "MON", "JAN", "1-5", "*/2", "(", "@daily", "٣"]
TEXTS = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
    st.lists(st.text(string.printable, max_size=4), min_size=5, max_size=6).map(
        " ".join
    ),
    st.lists(
        st.lists(st.sampled_from(PIECES[:20]), min_size=1, max_size=4).map("".join),
        min_size=5,
        max_size=6,
    ).map(" ".join),
)


@given(TEXTS)
def test_any_text_is_read_or_refused(text):
    cron, error = read(text)
    if error is not None:
        names = {"second", "minute", "hour", "month", "day of month", "day of week", ""}
        assert error.field in names
        assert error.field in str(error)
    else:
        assert Cron(str(cron), name="job") == cron
        assert cron.next(START) > START
        assert cron.prev(START) < START
        assert cron.explain()


def read(text):
    try:
        return Cron(text, name="job"), None
    except CronError as error:
        return None, error


@given(st.randoms(use_true_random=False), st.integers(0, 4))
def test_error_names_the_field(draw, broken):
    fields = str(random_spec(draw)).split()
    fields[broken] = draw.choice(["99", "1-99", "*/99", "x", "1,", "1//2"])
    with pytest.raises(CronError) as caught:
        Cron(" ".join(fields))
    names = ["minute", "hour", "day of month", "month", "day of week"]
    assert caught.value.field == names[broken]


def test_all_kinds_of_months():
    # 28 years hold every length and first day of a month but those of a leap century.
    draw = random.Random(5)
    for _ in range(12):
        spec = random_spec(draw)
        zero, every = ("0", {0}), ("*", {*range(1, 13)})
        one = Spec(zero, zero, spec.by_date, every, spec.by_weekday)
        if not one.possible():
            continue
        found = {run.date() for run in Cron(str(one)).between(START, END)}
        assert found == {day for day in ALL_DAYS if one.has_day(day)}, one


END = datetime(2054, 1, 1, tzinfo=UTC)
ALL_DAYS = [date(2026, 1, 1) + timedelta(n) for n in range((END - START).days)]


def test_drawn_fields_differ():
    draw = random.Random(1)
    assert len({number_field(draw, 0, 59)[0] for _ in range(300)}) > 150
