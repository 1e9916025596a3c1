"""All services together, for some seconds: nothing is lost, nothing is left."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "soak_program.py"
OF_THE_PROCESS = 2  # threads that serve all services: timekeeper, autowait
OPEN_AT_MOST = 30  # those that wait for files, eight at most, with what wakes each

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not find_spec("trio"), reason="needs Linux and trio"
)


def soak(seconds, seed, folder):
    run = subprocess.run(
        [sys.executable, "-X", "dev", PROGRAM, str(seconds), str(seed), folder],
        capture_output=True,
        text=True,
        timeout=seconds + 100,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(run.stdout)


def check(found):
    assert found["faults"] == []
    assert found["threads"] <= 1 + OF_THE_PROCESS
    assert len(found["descriptors"]) <= OPEN_AT_MOST, found["descriptors"]
    assert found["grown"] < 60
    assert len(found["done"]) >= 12
    assert min(found["done"].values()) > 0


@pytest.mark.full
@pytest.mark.timeout(120)
def test_all_services_together(tmp_path):
    check(soak(4, 1, tmp_path))


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(2, 7))
def test_all_services_together_for_a_minute(seed, tmp_path):
    check(soak(60, seed, tmp_path))
