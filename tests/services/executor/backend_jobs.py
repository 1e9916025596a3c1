"""What the workers of foreign executors run; they import this module."""

import functools
import os
import threading
import time
from pathlib import Path


def add(a, b=0):
    return a + b


def echo(**kwargs):
    return kwargs


def touch(folder, name):
    """Leave a mark that this was run; a second run leaves a second one."""
    number = f"{os.getpid()}-{threading.get_ident()}-{time.monotonic_ns()}"
    Path(folder, f"{name}.{number}").touch(exist_ok=False)
    return name


def identical(folder):
    """Leave a mark, with no argument that tells one call from another."""
    return touch(folder, "same")


def unpicklable_result():
    return threading.Lock()


def unreadable_result():
    return Unreadable(1)


class Unreadable:
    """Can be pickled, and not be read again."""

    def __init__(self, x):
        self.x = x

    def __reduce__(self):
        return _explode, ()


def _explode():
    raise RuntimeError("cannot be read")


def raises(kind=ValueError, text="on purpose"):
    raise kind(text)


class Picky(Exception):
    """Cannot be read again: its arguments are not its constructor's."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def raises_picky():
    raise Picky(1, 2)


def raises_unpicklable():
    error = ValueError("holds a lock")
    error.lock = threading.Lock()
    raise error


def sleep(seconds, value=None):
    time.sleep(seconds)
    return value


def die():
    """End the worker, as the system does when memory is short."""
    os._exit(9)


def die_once(mark):
    """End the worker at the first call."""
    if not Path(mark).exists():
        Path(mark).touch()
        os._exit(9)
    return "survived"


partial_add = functools.partial(add, 40)
