"""The rules of the code's shape that no linter checks.

What may import what stands in `.ci/importlinter.ini`.
"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "cup"
TREES = {
    path.relative_to(SOURCE).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(SOURCE.rglob("*.py"))
}

FILE_LINES = 400
BODY_LINES = 40
# Functions that are longer on purpose.
LONGER = {
    "services/threadpool/_core_worker.py _work": 50,  # a call more costs each job 5 %
}
# Who may print besides cli, and why.
PRINTERS = {
    "services/threadpool/_core_handle.py",  # `dump_stats(print_stdout=True)`
    "unittest.py",  # a runner reports on the terminal
}
WAITING_CALLS = {
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "Event",
    "Semaphore",
    "sleep",
    "wait",
}
# Who may wait outside `_core`, and why. Keep it short.
WAITERS = {
    ("_log_file.py", "acquire"),  # the lock of a log handler
    ("services/threadpool/_core.py", "join"),  # its own method, at exit
    ("services/threadpool/_core_job.py", "Condition"),  # every Future has one
    ("services/threadpool/aio_view.py", "wait"),  # on the waiter of its loop: hot path
    ("services/threadpool/inside.py", "wait"),  # its own method, over `park`
}


def calls():
    """Give every call in the source: its file, itself, the last part of its name."""
    for file, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func).rpartition(".")[2]
                yield file, node, name


def is_false(node):
    return isinstance(node, ast.Constant) and node.value is False


def may_wait(node, name):
    options = {option.arg: option.value for option in node.keywords}
    if name == "acquire":  # a try is no wait
        blocking = [*node.args[:1], options.get("blocking")]
        return not any(map(is_false, blocking))
    if name == "join":  # of a thread: that of a string has an argument
        return not node.args
    return name in WAITING_CALLS


def test_a_file_fits_in_one_sitting():
    files = TREES.keys() - {"errors.py"}  # one tree, in one place
    lengths = {file: len((SOURCE / file).read_text().splitlines()) for file in files}
    assert not {file: n for file, n in lengths.items() if n > FILE_LINES}


def test_a_function_fits_on_one_screen():
    large = {}
    for file, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                lines = node.end_lineno - body[0].lineno + 1 if body else 0
                if lines > LONGER.get(f"{file} {node.name}", BODY_LINES):
                    large[f"{file}:{node.lineno} {node.name}"] = lines

    assert not large


def test_every_module_says_what_it_is():
    assert not [file for file, tree in TREES.items() if not ast.get_docstring(tree)]


def test_types_are_never_ignored():
    ignored = re.compile(r"#\s*(type|pyright|mypy):\s*ignore")
    assert not [file for file in TREES if ignored.search((SOURCE / file).read_text())]


def test_only_a_command_line_prints():
    assert not [
        f"{file}:{node.lineno}"
        for file, node, name in calls()
        if name == "print" and file not in PRINTERS and not file.startswith("cli/")
    ]


def test_only_the_core_waits():
    assert not [
        f"{file}:{node.lineno} {ast.unparse(node)}"
        for file, node, name in calls()
        if may_wait(node, name)
        and (file, name) not in WAITERS
        and not file.startswith(("_core/", "cli/"))
    ]


def test_there_are_two_hard_dependencies():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r"^dependencies = (\[[^\]]*\])", text, re.MULTILINE)
    names = {re.split(r"[^\w-]", entry)[0] for entry in ast.literal_eval(found[1])}
    assert names == {"anyio", "typing-extensions"}
