"""What the tests of `cup fanout` share: folders, what is in them, and a real sshd."""

import getpass
import os
import shutil
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
PRIVILEGE_SEPARATION = Path("/run/sshd")
CUP = [sys.executable, "-m", "cup", "fanout"]


def why_no_sshd():
    """Say why no sshd can be started here; "" if one can."""
    if (
        SSHD is None
        or shutil.which("ssh") is None
        or shutil.which("ssh-keygen") is None
    ):
        return "needs OpenSSH: apt-get install openssh-server"
    if os.getuid() == 0 and not PRIVILEGE_SEPARATION.is_dir():
        try:
            PRIVILEGE_SEPARATION.mkdir(mode=0o755)  # as its service does
        except OSError as error:
            return f"sshd needs {PRIVILEGE_SEPARATION}: {error}"
    return ""


def make_tree(folder, size=200_000):
    """Fill a folder with everything that a copy has to keep."""
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "a" / "x").write_text("hello")
    (folder / "a" / "b" / "größe und so").write_text("umlauts")
    (folder / "a" / "new\nline").write_text("q")
    (folder / "back\\slash").write_text("b")
    (folder / "-n").write_text("an option?")
    (folder / "$(touch evil)'\"").write_text("sh")
    (folder / "a" / ("long" * 40)).write_text("a long name")
    (folder / "nothing").write_bytes(b"")
    (folder / "big").write_bytes(os.urandom(size))
    os.link(folder / "a" / "x", folder / "hard")
    (folder / "sym").symlink_to("a/x")
    (folder / "dangling").symlink_to("/nowhere/./")
    (folder / os.fsdecode(b"\xff\xfe")).write_text("no text")
    (folder / "a" / "x").chmod(0o750)
    (folder / "locked").mkdir()
    (folder / "locked" / "z").write_text("z")
    (folder / "locked").chmod(0o555)
    os.utime(folder / "a" / "x", ns=(10**18 + 123, 10**18 + 123_456_789))
    os.utime(folder / "empty", ns=(0, 5))
    return folder


def picture(folder):
    """Return everything about what is in a folder that a copy has to keep."""
    folder = os.fsencode(folder)
    seen = {}
    links = {}
    for place, folders, files in os.walk(folder):
        for name in [b".", *folders, *files]:
            path = b"%b/%b" % (place, name)
            info = os.lstat(path)
            relative = os.path.relpath(path, folder)
            content = mtime = None
            if stat.S_ISREG(info.st_mode):
                content = Path(os.fsdecode(path)).read_bytes()
            elif stat.S_ISLNK(info.st_mode):
                content = os.readlink(path)  # noqa: PTH115 - Path changes it
            if info.st_nlink > 1 and not stat.S_ISDIR(info.st_mode):
                links.setdefault(info.st_ino, set()).add(relative)
            seen[relative] = (info.st_mode, info.st_mtime_ns, content)
    return seen, sorted(map(sorted, links.values()))


def leftovers(folder):
    """Return what runs have left in a folder."""
    return [path.name for path in Path(folder).iterdir() if "cup-fanout" in path.name]


def cup_fanout(*args, timeout=60, **options):
    """Run the command as a process; give its exit status and what it printed."""
    words = [*CUP, *map(str, args)]
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=timeout, check=False, **options
    )
    return done.returncode, done.stdout, done.stderr


def wait_for(what, seconds=20):
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it has not come to be"
        time.sleep(0.005)
    return found


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Sshd:
    """A daemon of our own on a port of the loopback, with keys of its own."""

    def __init__(self, home, *options):
        home.mkdir()
        self.home = home
        self.key = home / "key"
        keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f"]
        subprocess.run([*keygen, home / "host"], check=True)
        subprocess.run([*keygen, self.key], check=True)
        shutil.copy(home / "key.pub", home / "authorized")
        self.config = [
            "ListenAddress 127.0.0.1",
            f"HostKey {home / 'host'}",
            f"AuthorizedKeysFile {home / 'authorized'}",
            "PidFile none",
            "StrictModes no",
            "UsePAM no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin yes",
            "MaxStartups 500:30:500",
            *options,
        ]
        self.log = home / "log"
        self.process = None

    def start(self):
        """Start it on a free port, and wait until it answers."""
        for _ in range(5):  # another process may be quicker to take the port
            self.port = free_port()
            file = self.home / "config"
            file.write_text("\n".join([f"Port {self.port}", *self.config, ""]))
            with self.log.open("wb") as log:
                words = [SSHD, "-D", "-e", "-f", file]
                self.process = subprocess.Popen(words, stderr=log)
            if self._answers():
                return self
            self.stop()
        raise AssertionError(self.log.read_text())

    def _answers(self):
        while self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.01)
            else:
                return True
        return False

    def stop(self):
        """Stop it."""
        self.process.terminate()
        self.process.wait()

    def client(self, alias, *options, key=None):
        """Return what a client's configuration has to say about it."""
        host_key = (self.home / "host.pub").read_text().split()
        known = self.home / "known"
        known.write_text(f"[127.0.0.1]:{self.port} {host_key[0]} {host_key[1]}\n")
        lines = [
            f"Host {alias}",
            "HostName 127.0.0.1",
            f"Port {self.port}",
            f"User {getpass.getuser()}",
            f"IdentityFile {key or self.key}",
            "IdentitiesOnly yes",
            f"UserKnownHostsFile {known}",
            *options,
        ]
        return "\n".join(lines) + "\n"
