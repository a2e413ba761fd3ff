#!/usr/bin/env bash
# Runs a program of this build on the lab's drivers. For it alone /usr is the one of the lab's
# Debian; all other paths are what they were. Exit code 77: there is no lab, or it may not mount.
#
#   tools/driver-lab/inside.sh LAB [NAME=VALUE...] PROGRAM [ARGUMENT...]
set -euo pipefail

skip() { echo "skipped: $*"; exit 77; }
lab=$(realpath -m "$1")
shift
[ -e "$lab/versions.txt" ] || skip "no driver lab in $lab: run tools/driver-lab/setup.sh"
unshare --mount true 2>/dev/null || skip "the driver lab needs root: it mounts in a namespace"

# What is loaded from here: the libraries that are part of every system are newer there.
for program; do [[ $program == *=* ]] || break; done
libraries=$(ldd "$program" | sed -nE 's/.* => (\/\S+).*/\1/p' |
  grep -vE '/(libc|libm|libstdc\+\+|libgcc_s)\.so' || true)

mkdir -p "$lab/libraries"
exec unshare --mount sh -ec '
  mount -t tmpfs none "$0/libraries"
  [ -z "$1" ] || cp $1 "$0/libraries"
  mount --bind "$0/new/usr" /usr
  shift
  exec env LD_LIBRARY_PATH="$0/libraries" "$@"' "$lab" "$libraries" "$@"
