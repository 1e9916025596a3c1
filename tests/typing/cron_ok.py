"""What type checkers must see in cron. Checked, not run."""

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from typing_extensions import assert_type

from cup.errors import CronError
from cup.services.executor import Cron, DstPolicy


def zones() -> list[Cron]:
    return [
        Cron("@daily"),
        Cron("@daily", "Europe/Berlin"),
        Cron("@daily", ZoneInfo("Europe/Berlin")),
        Cron("@daily", timezone(timedelta(hours=2)), dst=DstPolicy.LAST),
        Cron("H H * * *", None, name="backup"),
    ]


def runs(cron: Cron, at: datetime) -> None:
    assert_type(cron.next_after(5), float | None)
    assert_type(cron.prev_before(5.5), float | None)
    assert_type(cron.next(), datetime)
    assert_type(cron.prev(at), datetime)
    assert_type(cron.upcoming(at), Iterator[datetime])
    assert_type(cron.past(), Iterator[datetime])
    assert_type(cron.between(at, at), Iterator[datetime])
    assert_type([run.hour for run in cron.between(at, at)], list[int])


def facts(cron: Cron, error: CronError) -> None:
    assert_type(cron.expr, str)
    assert_type(cron.tz, tzinfo)
    assert_type(cron.dst, DstPolicy)
    assert_type(cron.name, str | None)
    assert_type(cron.explain(), str)
    assert_type(error.field, str)
    assert_type(error.value, str)
    by_cron: dict[Cron, int] = {cron: hash(cron)}
    assert_type(by_cron[cron], int)
