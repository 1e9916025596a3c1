"""Fixtures of all tests of the command line."""

import subprocess

import pytest

from cup.cli import main


@pytest.fixture
def spawn():
    """Start processes that do not outlive the test."""
    children = []

    def start(*args, **options):
        children.append(subprocess.Popen(*args, **options))
        return children[-1]

    yield start
    for child in children:
        if child.poll() is None:
            child.terminate()
            child.wait()
        for pipe in (child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def cup_log(capsys):
    """Run `cup log`; give its exit status and what it printed."""

    def run(*args):
        status = main(["log", *map(str, args)])
        out, err = capsys.readouterr()
        return status, out, err

    return run
