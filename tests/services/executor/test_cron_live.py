"""Debian's cron itself, on a clock that runs 120 times faster, beside ours.

It runs by hand (CUP_LONG=1), as root, with the packages cron and libfaketime of Debian
installed, or unpacked, and their files named by CUP_DEBIAN_CRON and CUP_FAKETIME. The
folders it needs are mounted for it alone.
"""

import os
import shutil
import subprocess
import sys
import time
import zoneinfo
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from cup.services.executor import Cron

SPEED = 120
EXPRESSIONS = """\
30 2 * * *
15,45 2 * * *
0 2,3 * * *
*/30 2 * * *
0 */2 * * *
0 * * * *
*/20 * * * *
30 1-3 * * *
30 1 * * *
*/15 1 * * *
45 1 * * *
0 1,2 * * *
10 */3 * * *
5 0-23 * * *
*/15 3 * * *
@hourly
0,30 2,3 * * *
15 2 * * *
""".splitlines()
CHANGES = [
    ("Europe/Berlin", "2026-03-28 23:30:00", 5),
    ("Europe/Berlin", "2026-10-24 23:30:00", 6),
    ("Australia/Lord_Howe", "2026-10-03 23:30:00", 5),
    ("Australia/Lord_Howe", "2026-04-04 23:30:00", 6),
]
SCRIPT = """\
set -e
mount -t tmpfs none /var/spool
mount -t tmpfs none /run
mount -t tmpfs none /etc/pam.d
mkdir -p /var/spool/cron/crontabs /run/lock
for kind in auth account session password; do
    echo "$kind sufficient pam_permit.so" >> /etc/pam.d/cron
done
cp "$1/crontab" /var/spool/cron/crontabs/root
chmod 600 /var/spool/cron/crontabs/root
date +%s.%N > "$1/began"
exec env LD_PRELOAD="$FAKETIME_LIBRARY" "$CRON" -f
"""


def debian_cron():
    return os.environ.get("CUP_DEBIAN_CRON") or shutil.which("cron", path="/usr/sbin")


def faketime():
    installed = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
    return os.environ.get("CUP_FAKETIME") or next(installed, None)


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
@pytest.mark.skipif(not debian_cron() or not faketime(), reason="needs Debian's cron")
def test_debian_agrees(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    began = [
        start(tmp_path / str(number), *change) for number, change in enumerate(CHANGES)
    ]
    for process, hours in began:
        with pytest.raises(subprocess.TimeoutExpired):  # it runs until it is ended
            process.wait(max(0, hours - time.monotonic()))
        process.kill()
        process.wait()
    for number, change in enumerate(CHANGES):
        compare(tmp_path / str(number), *change)


def start(folder, key, begin, hours):
    """Start a cron of its own, in its own mounts; give it, and when it is to end."""
    folder.mkdir()
    lines = ["SHELL=/bin/sh", "PATH=/usr/bin:/bin"]
    for number, expr in enumerate(EXPRESSIONS):
        lines.append(f'{expr} date +"{number} \\%s.\\%N" >> {folder}/runs')
    (folder / "crontab").write_text("\n".join(lines) + "\n")
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "TZ": key,
        "CRON": debian_cron(),
        "FAKETIME": f"@{begin} x{SPEED}",
        "FAKETIME_DONT_RESET": "1",
        "FAKETIME_LIBRARY": faketime(),
    }
    process = subprocess.Popen(
        ["unshare", "-m", "--propagation", "private", "sh", "-c", SCRIPT, "-", folder],
        env=environment,
    )
    return process, time.monotonic() + hours * 3600 / SPEED


def compare(folder, key, begin, hours):
    tz = zoneinfo.ZoneInfo(key)
    first = datetime.fromisoformat(begin).replace(tzinfo=tz).timestamp()
    began = float((folder / "began").read_text())
    found = {number: set() for number in range(len(EXPRESSIONS))}
    for line in (folder / "runs").read_text().splitlines():
        number, at = line.split()
        faked = first + (float(at) - began) * SPEED
        found[int(number)].add(faked // 60 * 60)  # each run of a gap at its end: once
    low, high = first + 120, first + hours * 3600 - 300
    for number, expr in enumerate(EXPRESSIONS):
        begin = datetime.fromtimestamp(low, tz)
        stop = begin + timedelta(days=1)
        ours = {run.timestamp() for run in Cron(expr, tz).between(begin, stop)}
        wanted = sorted(run for run in ours if low <= run < high)
        assert sorted(run for run in found[number] if low <= run < high) == wanted, (
            key,
            expr,
        )
