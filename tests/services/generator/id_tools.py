"""What the tests of identifiers share: clocks, children, threads."""

import array
import itertools
import operator
import os
import sys
import threading
import traceback

import pytest

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


class FakeClock:
    """A clock whose hands the test turns; `monotonic` follows `time`, but back."""

    def __init__(self, now=1_800_000_000.0):
        self.now = now
        self.passed = 0.0

    def time(self):
        return self.now

    def monotonic(self):
        return self.passed

    def step(self, seconds):
        self.now += seconds
        self.passed += max(0.0, seconds)


def in_children(number, body):
    """Run `body(n)` in forked children at once; give what each returned, as bytes."""
    pipes = []
    sys.stdout.flush()
    for n in range(number):
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            status = 1
            try:
                os.close(reading)
                with os.fdopen(writing, "wb") as out:
                    out.write(body(n))
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        os.close(writing)
        pipes.append((child, reading))

    results = []
    for child, reading in pipes:
        with os.fdopen(reading, "rb") as out:
            results.append(out.read())
        assert os.waitpid(child, 0)[1] == 0, "a child failed"
    return results


def in_threads(number, body):
    """Run `body(n)` in threads at once; give what each returned."""
    results = [None] * number
    errors = []
    start = threading.Barrier(number)

    def run(n):
        try:
            start.wait()
            results[n] = body(n)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors
    return results


def fingerprints(ids):
    """Give 64 bits for each id: of a million there are two alike once in 40 million.

    Two equal ids have equal fingerprints, so no duplicate hides; a false alarm of 8
    million is less likely than one in 500,000.
    """
    mask = (1 << 64) - 1
    return array.array("Q", [hash(id_) & mask for id_ in ids]).tobytes()


def count_distinct(results):
    """Count the 64-bit numbers in all results together, and how many are distinct."""
    numbers = array.array("Q")
    for result in results:
        numbers.frombytes(result)
    # Sorted, not a set: that takes a fifth of the memory, and runs are merged fast.
    ordered = sorted(numbers)
    equal = sum(map(operator.eq, ordered, itertools.islice(ordered, 1, None)))
    return len(numbers), len(numbers) - equal
