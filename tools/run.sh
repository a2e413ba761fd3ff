#!/usr/bin/env bash
# Builds Kimberlite and runs a model on whatever Vulkan device there is.
#
#   tools/run.sh                     a small random model, made once: it talks, but makes no sense
#   tools/run.sh MODEL [PROMPT...]   your model; everything after it goes to `kimberlite run`
set -euo pipefail
cd "$(dirname "$0")/.."

tools/install.sh
cmake --preset release --log-level=WARNING >/dev/null
cmake --build --preset release --target kimberlite kimberlite-make-model -- --quiet

build=build/release
model=${1:-$build/tiny12.gguf}
if [ $# -eq 0 ] && [ ! -f "$model" ]; then
  # Under another name first, so that an interrupted run leaves no half model behind.
  $build/tools/kimberlite-make-model --shape tiny12 --type f32 --seed 13 "$build/part.gguf"
  mv "$build/part.gguf" "$model"
fi
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- "Hello" -n 32
exec $build/apps/kimberlite run "$model" "$@"
