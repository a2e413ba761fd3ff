#!/bin/sh
# Trains Pebble from nothing to the files that ship. The same command resumes what was interrupted.
#
#   make.sh [FOLDER]            default: build/pebble
#
# PYTHON names the interpreter of setup.sh's environment, THREADS how many threads training takes.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-build/pebble}
python=${PYTHON:-"$here/.venv/bin/python"}
# Large buffers come and go with every step: keep them, and let waiting threads sleep.
export MALLOC_TRIM_THRESHOLD_=100000000000 GLIBC_TUNABLES=glibc.malloc.hugetlb=1 OMP_WAIT_POLICY=PASSIVE
for stage in text pictures sounds; do
  "$python" "$here/train.py" --out "$out" --stage "$stage" --threads "${THREADS:-2}"
done
