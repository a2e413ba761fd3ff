#!/bin/sh
# Trains Pebble from nothing to checkpoints and scores. The same command resumes what was interrupted.
#
#   make.sh [FOLDER]            default: build/pebble
#
# PYTHON names the interpreter of setup.sh's environment, THREADS how many threads training takes.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-build/pebble}
python=${PYTHON:-"$here/.venv/bin/python"}
threads=${THREADS:-2}
# Large buffers come and go with every step: keep them, and let waiting threads sleep.
export MALLOC_TRIM_THRESHOLD_=100000000000 GLIBC_TUNABLES=glibc.malloc.hugetlb=1 OMP_WAIT_POLICY=PASSIVE
for stage in text pictures sounds long; do
  "$python" "$here/train.py" --out "$out" --stage "$stage" --threads "$threads"
done
"$python" "$here/train_drafter.py" --out "$out" --threads "$threads"
"$python" "$here/export.py" --out "$out"
"$python" "$here/evaluate.py" --model "$out/hf" --output "$out/scores.json" \
  --answers "$out/answers.jsonl" --write-prompts "$out/prompts.json"
"$python" "$here/evaluate_drafter.py" --out "$out" --output "$out/acceptance.json"
"$python" "$here/plot.py" "$out/log.jsonl" "$out/curves.svg"
