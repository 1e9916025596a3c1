"""`cup cron`: it prints when a job runs, and says what is wrong."""

import json
import subprocess
import sys

import pytest

from cup.cli import main


def test_runs_and_the_sentence_are_printed(capsys):
    args = ["30 2 * * *", "--tz", "Europe/Berlin", "--from", "2026-03-28", "-n", "3"]
    assert main(["cron", *args]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "At 02:30 every day (Europe/Berlin).",
        "Sat 2026-03-28 02:30:00+01:00",
        "Sun 2026-03-29 03:00:00+02:00",
        "Mon 2026-03-30 02:30:00+02:00",
    ]


def test_runs_before_a_time(capsys):
    args = ["0 0 L * *", "--prev", "-n", "2", "--from", "2026-03-31T00:00Z"]
    assert main(["cron", *args]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "Sat 2026-02-28 00:00:00+00:00",
        "Sat 2026-01-31 00:00:00+00:00",
    ]


def test_time_without_an_offset_is_of_the_zone(capsys):
    for start in ("2026-03-29T03:00", "2026-03-29T01:00Z", "2026-03-28T20:00-05:00"):
        args = ["*/30 * * * *", "--tz", "Europe/Berlin", "--from", start, "-n1"]
        assert main(["cron", *args]) == 0
        assert capsys.readouterr().out.endswith("Sun 2026-03-29 03:30:00+02:00\n")


def test_json(capsys):
    args = ["30 2 * * *", "--tz", "Europe/Berlin", "--from", "2026-10-25", "-n", "2"]
    assert main(["cron", *args, "--dst", "both", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "expression": "30 2 * * *",
        "zone": "Europe/Berlin",
        "dst": "both",
        "explanation": "At 02:30 every day (Europe/Berlin).",
        "runs": [
            {"time": "2026-10-25T02:30:00+02:00", "timestamp": 1792888200},
            {"time": "2026-10-25T02:30:00+01:00", "timestamp": 1792891800},
        ],
    }


def test_now_and_five_are_the_defaults(capsys):
    assert main(["cron", "* * * * *"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Every minute (UTC)."
    assert len(lines) == 6
    assert main(["cron", "@hourly", "-n", "0"]) == 0
    assert capsys.readouterr().out == "At minute 0 of every hour (UTC).\n"


def test_name_spreads(capsys):
    for name, at in (("a", "05:03"), ("b", "10:27")):
        assert main(["cron", "H H * * *", "--name", name, "-n1"]) == 0
        assert f"At {at} every day" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["61 * * * *"], "minute is '61': give 0 to 59"),
        (["0 0 31 2 *"], "never comes: day of month is '31'"),
        (["* * * *"], "has 4 fields; give 5"),
        (["H * * * *"], "give `name`"),
        (["@daily", "--tz", "Europe/Berln"], "is it Europe/Berlin"),
        (["@daily", "--from", "tomorrow"], "--from is 'tomorrow'; give a time"),
        (["@daily", "-n", "-1"], "-n is -1; give 0 or more"),
        (["@daily", "--dst", "never"], "invalid choice: 'never'"),
        ([], "the following arguments are required: EXPR"),
    ],
)
def test_nonsense_is_an_usage_error(args, said, capsys):
    assert main(["cron", *args]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert said in err


def test_years_end(capsys):
    args = ["@yearly", "--from", "9997-06-01", "-n", "5"]
    assert main(["cron", *args]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[1:] == [
        "Thu 9998-01-01 00:00:00+00:00",
        "Fri 9999-01-01 00:00:00+00:00",
    ]
    assert err == "cup cron: there are 2 runs\n"


def test_command_is_listed_and_loads_no_loop():
    code = (
        "import sys; from cup.cli import main; main(['cron', '@daily', '-n1']);"
        "print(sorted({'asyncio', 'anyio', 'trio'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    lines = run.stdout.splitlines()
    assert (lines[0], lines[-1]) == ("At 00:00 every day (UTC).", "[]")
    assert main(["--help"]) == 0
