#!/usr/bin/env bash
# Run one step of .ci/steps.sh and print it in one piece: its end, or all if it failed.
set -uo pipefail
name=$1
log="$CI_WORK/$name.log"
export PYTEST_ADDOPTS="-o cache_dir=$CI_WORK/cache-$name"
SECONDS=0
if timeout -k 10 700 bash .ci/steps.sh "$name" >"$log" 2>&1 </dev/null; then
  verdict=ok
  touch "$CI_WORK/ok/$name"
  shown=$(grep -a '^FAILED' "$log"; tail -n 4 "$log")
else
  verdict="FAILED ($?)"
  shown=$(cat "$log")
fi
printf '\n==== %s: %s, %s s\n%s\n' "$name" "$verdict" "$SECONDS" "$shown"
