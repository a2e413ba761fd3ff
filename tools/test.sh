#!/usr/bin/env bash
# Builds everything and runs the tests; the last line counts them. Nothing is asked on the way.
#
#   tools/test.sh [--slow] [--all] [ctest options]
#
# --slow adds a minute of fuzzing for each target and the cpu tier under the sanitizers, --all the
# whole product of drafting with models, samplings and caches on lavapipe (hours).
set -euo pipefail
cd "$(dirname "$0")/.."

slow=0 all=0
while :; do
  case ${1:-} in
    --slow) slow=1 ;;
    --all) all=1 ;;
    *) break ;;
  esac
  shift
done
groups=(test)
[ $slow -eq 1 ] && groups+=(slow)
tools/install.sh "${groups[@]}"

cmake --preset release -DKIMBERLITE_SLOW=$slow -DKIMBERLITE_ALL=$all --log-level=WARNING >/dev/null
cmake --build --preset release -- -j"$(nproc)" --quiet

log=build/release/ctest.log
status=0
ctest --test-dir build/release -j2 --output-on-failure --no-tests=error "$@" </dev/null |
  tee "$log" || status=$?

# Cases that a program skipped inside itself are only in ctest's own log.
detail=build/release/Testing/Temporary/LastTest.log
skipped=$(grep -E '\*\*\*(Skipped|Not Run)' "$log" | sed -E 's/.*Test +#[0-9]+: ([^ ]+).*/\1/' |
          sort -u || true)
inside=$(sed -nE 's/^\[  SKIPPED \] ([A-Za-z0-9_/]+\.[A-Za-z0-9_/]+)( \(.*)?$/\1/p' "$detail" |
         sort -u || true)
n_skipped=$(grep -c . <<<"$skipped" || true)
[ -n "$skipped" ] && printf 'Skipped: %s\n' $skipped
[ -n "$inside" ] && printf 'Skipped on a driver: %s\n' $inside
read -r n_failed n_all < <(sed -nE \
  's/^[0-9]+% tests passed, ([0-9]+) tests? failed out of ([0-9]+)$/\1 \2/p' "$log") ||
  { echo "ctest ended without a summary" >&2; exit 1; }
echo "$((n_all - n_failed - n_skipped)) tests passed, $n_failed failed out of $n_all" \
     "($n_skipped skipped)"
exit $status
