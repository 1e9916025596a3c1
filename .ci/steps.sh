#!/usr/bin/env bash
# The steps of .ci/run, one function each: runs the one that is named.
set -euo pipefail
. .ci/pythons.sh

# Run a check and go on when it fails: the checks after it have something to say, too.
status=0
check() {
  echo "\$ $*"
  "$@" || status=1
}

# Make a venv and install into it: venv NAME PYTHON REQUIREMENT...
venv() {
  local home="$CI_WORK/venv-$1" python=$2
  shift 2
  "$python" -m venv "$home"
  "$home/bin/pip" install -qq "$@"
  PATH="$home/bin:$PATH"
}

# Print the one command of README.md that ends in these words.
readme_command() {
  if ! grep -E "^python3 -m venv .venv && .* $1\$" README.md; then
    echo "README.md has no command that ends in: $1" >&2
    return 1
  fi
}

# Run tests; those that fail are run once more, alone. The machine is small and noisy, and
# what fails by that passes then; what fails twice has failed.
once_more() {
  local python=$1
  printf '\nThose that failed, once more, alone:\n'
  "$python" -m pytest --last-failed --last-failed-no-failures=none
}

# Run the quick tier of some tests, or of all, with the python of the venv in use.
run_tests() {
  local code=0
  python -m pytest "$@" || code=$?
  [ "$code" -ne 1 ] || { once_more python && code=0; }
  return "$code"
}

step_readme() {
  local command
  command=$(readme_command "-m pytest")
  echo "$command"
  local code=0
  bash -c "$command" || code=$?
  [ "$code" -ne 1 ] || { once_more .venv/bin/python && code=0; }
  return "$code"
}

# What the quick tier leaves out, on one Python, with what programs of users run in.
step_full() {
  venv full python3 -e '.[test]' django gunicorn distributed
  export CUP_TIER=full
  run_tests -m full
}

# What differs from one version of the interpreter to the next.
step_quick() {
  venv "quick-$1" "$(find_python "$1")" -e '.[test]'
  run_tests tests/core tests/thread \
    tests/services/{threadpool,buffers,executor,autowait}
}

step_mutex() {
  local python
  if ! python=$(find_python 3.12); then
    echo "no CPython 3.12 on this machine: python3 instead"
    python=python3
  fi
  venv mutex "$python" -e '.[test]'
  # What has such paths.
  CUP_FORCE_MUTEX=1 run_tests tests/core tests/thread \
    tests/services/{threadpool,buffers,generator}
}

step_floor() {
  local python
  if ! python=$(find_python 3.10); then
    echo "no CPython 3.10 on this machine: python3 instead"
    python=python3
  fi
  "$python" .ci/floor.py >"$CI_WORK/floor.txt"
  cat "$CI_WORK/floor.txt"
  venv floor "$python" -c "$CI_WORK/floor.txt" -e '.[test-core]'
  python -m pip check
  run_tests tests/core tests/test_*.py \
    tests/services/{threadpool,generator,executor,serializer,autowait,heartbeat}
}

# The README's command for the demo, in a copy: a fresh machine has no .venv.
step_demo() {
  local command
  command=$(readme_command "-m cup demo")
  mkdir "$CI_WORK/fresh"
  tar -c --exclude=./.git --exclude='./.venv*' . | tar -x -C "$CI_WORK/fresh"
  cd "$CI_WORK/fresh"
  echo "$command"
  bash -c "$command"
}

step_lint() {
  venv lint python3 -c .ci/tools.txt ruff import-linter -e .
  check ruff format --check --no-cache .
  check ruff check --no-cache .
  check lint-imports --no-cache .ci/importlinter.ini
}

step_types() {
  local platform
  venv types python3 -c .ci/tools.txt mypy pyrefly ty -e '.[test]'
  for platform in linux darwin win32; do
    check mypy --platform "$platform" --cache-dir "$CI_WORK/mypy-$platform"
    check ty check --python-platform "$platform" --python "$CI_WORK/venv-types"
  done
  # For Linux only: it does not see what a return for other platforms leaves out.
  check pyrefly check --python-platform linux --python-interpreter-path "$(type -P python)"
  check env CUP_TIER=full python -m pytest tests/test_typing_errors.py
}

step_pyright() {
  local platform
  venv pyright python3 -c .ci/tools.txt 'pyright[nodejs]' -e '.[test]'
  for platform in Linux Darwin Windows; do
    check pyright --pythonplatform "$platform" --pythonversion 3.10
  done
  check pyright --pythonplatform Linux --pythonversion 3.14
  check pyright --ignoreexternal --verifytypes cup
  check env CUP_TIER=full python -m pytest tests/test_typing_errors.py
}

step_wheel() {
  venv build python3 -c .ci/tools.txt build twine
  python -m build --outdir "$CI_WORK/dist" .
  check twine check --strict "$CI_WORK"/dist/*
  venv wheel python3 "$CI_WORK"/dist/*.whl
  cd "$CI_WORK"
  python -I -c 'import cup, cup.services.threadpool, cup.log, cup.net, cup.unittest
print("the wheel of cup", cup.__version__, "is imported from", cup.__file__)'
}

case $1 in
  quick-*) step_quick "${1#quick-}" ;;
  *) "step_$1" ;;
esac
exit "$status"
