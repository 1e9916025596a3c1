"""Interrupts at any line of the serializer."""

import linecache
import sys


class Interrupt(BaseException):
    """Comes from outside, as Ctrl-C does."""


def leaves_with(frame):
    """Tell whether a line is that of a `with`, which the interpreter does not part."""
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
    return line.lstrip().startswith("with ")


class Tracer:
    """Raises at one line of the serializer, the n-th that the thread comes to."""

    def __init__(self, nth):
        self.left = nth
        self.where = None

    def __enter__(self):
        sys.settrace(self)
        return self

    def __exit__(self, *_):
        sys.settrace(None)

    def __call__(self, frame, event, arg):
        if "cup/services/serializer/" not in frame.f_code.co_filename:
            return None
        if event == "line" and not leaves_with(frame):
            self.left -= 1
            if self.left == 0:
                self.where = f"{frame.f_code.co_name}:{frame.f_lineno}"
                sys.settrace(None)
                raise Interrupt
        return self
