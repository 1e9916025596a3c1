"""What the README shows is what happens."""

import doctest
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

README = Path(__file__).parent.parent / "README.md"
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SETUP = "python3 -m venv .venv && .venv/bin/pip install -q -e '.[{extra}]' && "
DEMO = SETUP.format(extra="cli") + ".venv/bin/python -m cup demo"
TESTS = SETUP.format(extra="test") + ".venv/bin/python -m pytest"


class Block(NamedTuple):
    language: str
    text: str
    line: int


def blocks():
    text = README.read_text(encoding="utf-8") if README.exists() else ""
    return [
        Block(match[1], match[2], text.count("\n", 0, match.start()) + 1)
        for match in FENCE.finditer(text)
    ]


def programs():
    """List each python block, with the output block that follows it, if one does."""
    return [
        pytest.param(
            block,
            after if after.language in {"text", "console"} else None,
            id=f"line {block.line}",
        )
        for block, after in pairwise([*blocks(), Block("", "", 0)])
        if block.language == "python"
    ]


@pytest.mark.parametrize(("block", "shown"), programs())
def test_program_does_what_is_shown(block, shown, tmp_path):
    # A file, not `-c`: process pools and inspect need one. The lines before it make
    # the numbers in a traceback those of the README.
    script = tmp_path / "readme.py"
    script.write_text("\n" * block.line + block.text, encoding="utf-8")
    run = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", script],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        timeout=50,
        check=False,
    )
    assert run.returncode == 0, run.stderr

    if shown:
        same = doctest.OutputChecker().check_output  # `...` stands for any text
        assert same(shown.text, run.stdout, doctest.ELLIPSIS), (
            f"README.md:{shown.line} shows\n{shown.text}\nthe program printed\n"
            f"{run.stdout}"
        )


def test_there_are_programs():
    assert programs(), "README.md has no ```python block: show the library at work"


@pytest.mark.parametrize("command", [DEMO, TESTS], ids=["demo", "tests"])
def test_command_is_there(command):
    shell = [block.text.strip() for block in blocks() if block.language == "sh"]
    assert command in shell, f"README.md has no ```sh block with just: {command}"
