"""What runs where a folder arrives: one POSIX sh script, here and over ssh alike.

It needs `sh tar find xargs cmp awk mv` and one of `sha256sum shasum cksum`; the tars of
GNU and BSD keep all of the times, that of BusyBox the whole seconds of files.

It unpacks next to the destination, checks every file, and gives the folder its name by
a rename. Whoever looks at the destination finds the folder that was there before,
nothing for the moment between two renames, or all of the new one.

While it works, the hidden folder `.NAME.cup-fanout-RUN` beside the destination holds
what arrives, and `.NAME.cup-fanout-RUN.old` what it replaces. What a killed run leaves
there is put right by the next one: a folder that was moved aside comes back first.

Not here: who starts it and reads its answers (`_fanout_send`).
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ._fanout_pack import Pack
    from ._fanout_places import Place

__all__ = [
    "ANSWER",
    "BUSY",
    "CHECKED_WRONG",
    "REFUSED",
    "UNPACK_FAILED",
    "local_command",
    "ssh_command",
]

ANSWER: Final = "cup-fanout "
"""How the lines begin that the script prints for us; any other line is a remark."""

# Its exit statuses.
REFUSED: Final = 40
BUSY: Final = 41
UNPACK_FAILED: Final = 42
CHECKED_WRONG: Final = 43

_SCRIPT: Final = r"""
set -u
run=$1 parent=$2 name=$3 limit=$4 mode=$5 count=$6 source=$7 inode=$8 boot=$9
unset CDPATH
LC_ALL=C
export LC_ALL
trap "" PIPE
dest= work=

say() { printf "cup-fanout %s\n" "$*"; }
fail() {
  code=$1
  shift
  say "error $*"
  exit "$code"
}
flush() { sync -f . 2>/dev/null || sync; }
started() { cut -d " " -f 22 "/proc/$1/stat" 2>/dev/null || echo -; }
inode_of() { ls -di "$1" 2>/dev/null | awk "NR == 1 { print \$1 }"; }

# Tell whether the run that a work folder belongs to goes on; finds its pid.
alive() {
  pid=0
  read -r pid begun until 2>/dev/null <"$1/run" || return 1
  [ -d "/proc/$pid" ] || kill -0 "$pid" 2>/dev/null || return 1
  [ "$begun" = "$(started "$pid")" ] || return 1
  [ "$1" != "$work" ] && [ "$(date +%s)" -le "$until" ] && return 0
  kill -9 "$pid" 2>/dev/null # an earlier attempt, or one that is cut off
  return 1
}
remove() {
  [ -e "$1" ] || return 0
  rm -rf "$1" 2>/dev/null && return 0
  find "$1" -type d ! -perm -700 -exec chmod u+rwx {} \; 2>/dev/null
  rm -rf "$1"
}
# Bring back what was moved aside, unless there is something new, and remove the rest.
tidy() {
  if [ -d "$1.old" ] && [ ! -e "$dest" ]; then mv "$1.old" "$dest"; fi
  remove "$1"
  remove "$1.old"
}

if [ -L "$parent/$name" ]; then
  real=$(cd "$parent/$name" 2>/dev/null && pwd -P) ||
    fail 40 "it is a symbolic link to no folder; remove it"
  name=${real##*/} parent=${real%/*}/
fi
mkdir -p "$parent" || fail 44 "the folder above it cannot be made"
real=$(cd "$parent" && pwd -P) || fail 44 "the folder above it cannot be entered"
base=${real%/}/
dest=$base$name
case $dest in
  / | /bin | /boot | /dev | /etc | /home | /lib | /lib64 | /media | /mnt | /opt | \
    /proc | /root | /run | /sbin | /srv | /sys | /tmp | /usr | /var)
    fail 40 "$dest is a folder of the system; name a folder in it"
    ;;
esac
[ ! -e "$dest" ] || [ -d "$dest" ] ||
  fail 40 "it is there and is no folder; remove it, or choose another name"
home=$(cd "${HOME:-/}" 2>/dev/null && pwd -P) || home=/
case $home/ in
  "$dest"/*) fail 40 "it is, or holds, the home directory; name a folder in it" ;;
esac
if [ -n "$boot" ] && [ "$(inode_of "$source")" = "$inode" ] &&
  [ "$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)" = "$boot" ]; then
  case $dest/ in
    "$source"/*) fail 40 "it is the source, or in it" ;;
  esac
  case $source/ in
    "$dest"/*) fail 40 "it holds the source" ;;
  esac
fi

work=$base.$name.cup-fanout-$run
for other in "$base.$name.cup-fanout-"*; do
  other=${other%.old}
  if [ -d "$other" ] || [ -d "$other.old" ]; then
    alive "$other" &&
      fail 41 "another run is at it (process $pid there); wait for it, or end it"
    tidy "$other"
  fi
done
trap "tidy \"\$work\"" EXIT
trap "exit 143" HUP INT TERM
(umask 077 && mkdir "$work") || fail 44 "no folder can be made beside it"
echo "$$ $(started $$) $(($(date +%s) + limit))" >"$work/run" ||
  fail 42 "it cannot be written to"

say step unpack
quiet=
case $(tar --version 2>/dev/null) in
  *"GNU tar"*) quiet=--warning=no-unknown-keyword ;;
esac
tar $quiet -xpof - -C "$work" || fail 42 "it cannot be unpacked"
for file in names sha256 cksum odd modes; do
  [ -f "$work/$file" ] || fail 42 "what arrived is not complete"
done

say step check
if command -v sha256sum >/dev/null 2>&1; then
  sums=sha256 sum=sha256sum
elif command -v shasum >/dev/null 2>&1; then
  sums=sha256 sum="shasum -a 256"
else
  sums=cksum sum=cksum
fi
wrong() { fail 43 "what arrived is not what was sent: $1"; }
# Names that a tool would print in its own way come one by one: SHA256 "CRC SIZE" NAME
check() {
  got=$($sum <"$3") || wrong "$3"
  case $sums in
    sha256) [ "${got%% *}" = "$1" ] || wrong "$3" ;;
    cksum) [ "$got" = "$2" ] || wrong "$3" ;;
  esac
}
cd "$work/new" || wrong "the folder is missing"
: >../got
if [ -s ../names ]; then
  xargs -0 $sum <../names >../got || wrong "a file cannot be read"
fi
cmp -s ../got "../$sums" || wrong "$(awk "
  NR == FNR { got[\$0] = 1; next }
  !(\$0 in got) { print; exit }" ../got "../$sums")"
. ../odd
found=$(find . -print0 | tr -dc "\000" | wc -c)
[ "$found" -eq "$count" ] || wrong "$found entries instead of $count"
. ../modes
flush

# Who sent it hears this, or is gone, and then nothing changes.
cd "$base" && say step arrive || exit 44
state=new
if [ -e "$dest" ]; then
  state=replaced
  mv "$dest" "$work.old" || fail 44 "what is there cannot be moved aside"
fi
mv "$work/new" "$dest" || fail 44 "it cannot be given its name"
if [ -n "$mode" ]; then chmod "$mode" "$dest"; fi
flush
say "done $state"
"""

_NEW_LINE: Final = "@"  # for one; the script has none of its own
_BEGIN: Final = 'eval "$(printf %s "$0" | tr @ "\\012")"'


def local_command(place: Place, pack: Pack, run: str, limit: int) -> list[str]:
    """Return what delivers a folder on this machine.

    Args:
        place: Where to.
        pack: What.
        run: What tells this run from others.
        limit: Seconds after which another run may take it for dead.
    """
    return ["sh", "-c", _SCRIPT, "cup-fanout", *_arguments(place, pack, run, limit)]


def ssh_command(
    place: Place, pack: Pack, run: str, limit: int, ssh: list[str]
) -> list[str]:
    """Return what delivers a folder on another machine.

    Args:
        place: Where to.
        pack: What.
        run: What tells this run from others.
        limit: Seconds after which another run may take it for dead.
        ssh: The command for ssh, and its options.
    """
    # Login shells are of many kinds: csh takes no new line in a quoted word.
    script = _SCRIPT.replace("\n", _NEW_LINE)
    words = ["sh", "-c", _BEGIN, script, *_arguments(place, pack, run, limit)]
    port = ["-p", str(place.port)] if place.port else []
    # Nothing of the user's configuration that is of no use here, and might harm.
    options = (
        "BatchMode=yes",
        "ClearAllForwardings=yes",
        "ControlMaster=no",
        "ForwardAgent=no",
        "ForwardX11=no",
        "PermitLocalCommand=no",
        "ServerAliveInterval=15",
        f"ConnectTimeout={max(1, min(limit, 30))}",
    )
    flags = [word for option in options for word in ("-o", option)]
    return [*ssh, "-T", *flags, *port, "--", place.target, f"exec {shlex.join(words)}"]


def _arguments(place: Place, pack: Pack, run: str, limit: int) -> list[str]:
    return [
        run,
        place.parent,
        place.name,
        str(limit),
        pack.mode,
        str(pack.entries),
        pack.source,
        str(pack.inode),
        pack.boot,
    ]
