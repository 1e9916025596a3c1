"""Runs the executor tests of the running interpreter against one of our pools.

    python pool_suite.py ThreadPool|PoolExecutor [test case]

Without a test case it prints their names, else what came of its tests, as JSON.
"""

import concurrent.futures
import concurrent.futures.thread
import importlib
import io
import itertools
import json
import sys
import unittest

from cup.errors import PoolClosed
from cup.services.threadpool import PoolExecutor, ThreadPool

STOCK = concurrent.futures.thread.ThreadPoolExecutor

MODULES = [
    "test.test_concurrent_futures",  # one file, or a package from 3.12 on
    "test.test_concurrent_futures.test_as_completed",
    "test.test_concurrent_futures.test_init",
    "test.test_concurrent_futures.test_shutdown",
    "test.test_concurrent_futures.test_thread_pool",
    "test.test_concurrent_futures.test_wait",
]

_number = itertools.count()


class PlainErrors:
    """One test looks for "RuntimeError: ..." in a printed traceback: ours is one."""

    def submit(self, fn, /, *args, **kwargs):
        try:
            return super().submit(fn, *args, **kwargs)
        except PoolClosed as error:
            raise RuntimeError(str(error)) from error


class OurPool(PlainErrors, ThreadPool):
    """A `ThreadPool` with the private names that the suite looks at."""

    def __init__(self, max_workers=None, thread_name_prefix="", **options):
        super().__init__(
            max_workers=max_workers,
            thread_name_prefix=(
                thread_name_prefix or f"ThreadPoolExecutor-{next(_number)}"
            ),
            **options,
        )

    @property
    def _max_workers(self):
        return self.core.maximum

    @property
    def _threads(self):
        workers = list(self.core.workers)
        return {w.thread for w in workers if w.thread.ident is not None}

    @property
    def _broken(self):
        return self.core.broken or False


class OurExecutor(PlainErrors, PoolExecutor):
    """A `PoolExecutor`; its own class, since its name is changed."""


POOLS = {"ThreadPool": OurPool, "PoolExecutor": OurExecutor}
for pool in POOLS.values():
    pool.__name__ = "ThreadPoolExecutor"  # the suite imports it by this name


def put_in_place(executor):
    """Put our pool where the stock one is found."""
    concurrent.futures.thread.ThreadPoolExecutor = executor
    concurrent.futures.ThreadPoolExecutor = executor


def cases(executor):
    """Give the suite's test cases about thread pools, by name."""
    found = {}
    for name in MODULES:
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError:
            continue
        for title, case in vars(module).items():
            if not isinstance(case, type) or not issubclass(case, unittest.TestCase):
                continue
            if getattr(case, "executor_type", None) in {STOCK, executor}:
                found[title] = type(title, (case,), {"executor_type": executor})
    return found


def run(case):
    from test.support import script_helper

    # Programs that the suite starts shall find our pool: not in isolated mode.
    script_helper.interpreter_requires_environment = lambda: True
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(case)
    log = io.StringIO()
    result = unittest.TextTestRunner(log, verbosity=2).run(suite)
    bad = [*result.failures, *result.errors]
    bad += [(test, "unexpected success") for test in result.unexpectedSuccesses]
    return {
        "run": result.testsRun,
        "bad": [f"{test}\n{why}" for test, why in bad],
        "skipped": [str(test) for test, _ in result.skipped],
    }


def main(name, *titles):
    executor = POOLS[name]
    put_in_place(executor)
    found = cases(executor)
    answer = run(found[titles[0]]) if titles else sorted(found)
    print("\n" + json.dumps(answer))


if __name__ == "__main__":
    main(*sys.argv[1:])
