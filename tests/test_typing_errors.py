"""What type checkers must refuse is refused: every marked line, and no other.

In `typing_errors`, a line that is wrong ends in `# error:` and what mypy calls it. The
checkers see it as a user's program, outside of this project.
"""

import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "typing_errors"
PROGRAMS = {
    "mypy": ["--strict"],
    "pyright": ["--pythonpath", sys.executable],
    "pyrefly": [
        *("check", "--preset=default", "--output-format=min-text"),
        *("--python-interpreter-path", sys.executable),
    ],
    "ty": ["check", "--output-format=concise", "--python", sys.prefix],
}
MARK = re.compile(r"# error: (.+)$")
REPORT = re.compile(r"(\w+\.py):(\d+):(?!.* note: ).*?(?:\[([\w-]+)\])?$")


def marked():
    found = {}
    for path in FOLDER.glob("*.py"):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if mark := MARK.search(line):
                found[path.name, number] = set(mark[1].split(", "))
    return found


def refused(checker, place):
    shutil.copytree(FOLDER, place / "program")
    ended = subprocess.run(
        [sys.executable, "-m", checker, *PROGRAMS[checker], "program"],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
    )
    found = {}
    for line in ended.stdout.splitlines():
        if told := REPORT.search(line):
            found.setdefault((told[1], int(told[2])), set()).add(told[3])
    assert found, ended.stdout + ended.stderr
    return found


@pytest.mark.full
@pytest.mark.timeout(300)
@pytest.mark.parametrize("checker", PROGRAMS)
def test_what_is_wrong_is_refused(checker, tmp_path):
    if not find_spec(checker):
        pytest.skip(f"needs {checker}")
    expected, found = marked(), refused(checker, tmp_path)
    assert sorted(found) == sorted(expected)
    if checker == "mypy":
        assert found == expected
