#!/usr/bin/env bash
# Cross-compiles Kimberlite for Windows with mingw-w64 and runs the cpu tier under Wine.
# Exits 77 (skipped) where the tools are missing; a missing Wine skips after a successful build.
set -euo pipefail
cd "$(dirname "$0")/.."

for tool in x86_64-w64-mingw32-g++-posix cmake ninja; do
  command -v $tool >/dev/null || { echo "skipped: no $tool (tools/install.sh test)"; exit 77; }
done
[ -d /usr/src/googletest ] || { echo "skipped: no /usr/src/googletest"; exit 77; }

build=${1:-build/mingw}
# What Windows makes different shows at any level of optimisation; this one compiles sooner.
cmake --preset mingw -B "$build" -DCMAKE_CXX_FLAGS_RELEASE="-O1 -DNDEBUG" --log-level=WARNING >/dev/null
cmake --build "$build" -- -j2 --quiet
find "$build" -name '*.exe' -not -path '*/CMakeFiles/*' -not -path '*/wine/*' | sort

command -v wine >/dev/null || { echo "skipped: built, but no wine to run the tests"; exit 77; }
# A Wine of its own: nothing of the user's is read or written. No window, no add-on installers.
export WINEPREFIX=$PWD/$build/wine WINEDEBUG=-all WINEDLLOVERRIDES="mscoree,mshtml="
wine wineboot --init >/dev/null 2>&1 || true
ctest --test-dir "$build" -j2 -L cpu --output-on-failure --no-tests=error
