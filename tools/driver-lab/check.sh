#!/usr/bin/env bash
# The driver lab as a test: some devices of each vendor with every model. Exit code 77: skipped.
#
#   tools/driver-lab/check.sh BUILD_FOLDER
set -euo pipefail
cd "$(dirname "$0")"
build=$1
lab=$(realpath -m ../../build/driver-lab)

skip() { echo "skipped: $*"; exit 77; }
[ "$(id -u)" -eq 0 ] || skip "the driver lab needs root"
[ "$(uname -m)" = x86_64 ] || skip "the driver lab needs x86_64"
unshare --mount true 2>/dev/null || skip "the driver lab needs to mount /proc in a namespace"
mkdir -p "$lab"
[ "$(df --output=avail -k "$lab" | tail -n 1)" -gt 4000000 ] ||
  skip "the driver lab needs 4 GB of disk"
timeout 1200 ./setup.sh "$lab" || skip "the driver lab could not be set up (no network?)"
exec ./run.py --lab "$lab" --build "$build" --devices vega10,navi31,kbl,dg2,lnl,turing
