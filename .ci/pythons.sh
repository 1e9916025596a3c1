# Finding interpreters; sourced by the other scripts.

version_of() {
  "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

# Print the path of a CPython X.Y that runs (a shim of pyenv may not) and makes venvs.
find_python() {
  local candidate
  for candidate in "python$1" python3 "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python; do
    if "$candidate" -c '
import ensurepip, platform, sys, venv
ours = "%d.%d" % sys.version_info[:2] == sys.argv[1]
sys.exit(not (ours and platform.python_implementation() == "CPython"))
' "$1" 2>/dev/null; then
      "$candidate" -c 'import sys; print(sys.executable)'
      return
    fi
  done
  return 1
}

# Have a redis-server (or valkey-server) for the tests that start their own.
need_redis() {
  if ! command -v redis-server >/dev/null && ! command -v valkey-server >/dev/null; then
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq -y install redis-server
  fi
}

# Have an sshd for the tests that start their own, on a port of the loopback; without one
# they are skipped.
need_sshd() {
  if ! PATH="$PATH:/usr/sbin" command -v sshd >/dev/null && [ "$(id -u)" = 0 ]; then
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq -y install openssh-server
  fi
}

# Have a python3 that makes venvs, from the system's packages where it is missing.
need_python() {
  if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq -y install python3 python3-venv
  fi
}
