"""CPython's own executor tests pass with our pools in the place of its thread pool.

They are those of the interpreter that runs this, where its `test` package is present.
Not one is left out.
"""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import pytest
from pool_tools import SOURCE

HERE = Path(__file__).parent
RUNNER = HERE / "pool_suite.py"
LEAST = 40  # tests about thread pools, in every version

# Programs that the suite starts import the stock executor by its name.
SITE = f"""
import sys
sys.path.append({str(HERE)!r})
import pool_suite
pool_suite.put_in_place(pool_suite.POOLS[{{pool!r}}])
"""


def has_suite():
    try:
        return find_spec("test.test_concurrent_futures") is not None
    except ModuleNotFoundError:
        return False


@pytest.fixture(params=["ThreadPool", "PoolExecutor"])
def suite(request, tmp_path):
    """Give what runs a test case of the suite in a process of its own."""
    pool = request.param
    (tmp_path / "sitecustomize.py").write_text(SITE.format(pool=pool))
    path = [str(tmp_path), str(SOURCE), os.environ.get("PYTHONPATH")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}

    def run(*titles):
        done = subprocess.run(
            [sys.executable, RUNNER, pool, *titles],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            cwd=tmp_path,
            env=environment,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.mark.full
@pytest.mark.timeout(150)
@pytest.mark.skipif(not has_suite(), reason="this Python has no executor tests")
def test_the_executor_tests_of_cpython_pass(suite):
    with ThreadPoolExecutor(3) as several:  # they sleep most of the time
        results = list(several.map(suite, suite()))
    assert [bad for result in results for bad in result["bad"]] == []
    assert [name for result in results for name in result["skipped"]] == []
    assert sum(result["run"] for result in results) >= LEAST
