#!/usr/bin/env bash
# Builds Kimberlite and runs a model on whatever Vulkan device there is.
#
#   tools/run.sh                     Pebble, the tiny demonstration model, answers a few prompts
#   tools/run.sh MODEL [PROMPT...]   your model; everything after it goes to `kimberlite run`
set -euo pipefail
cd "$(dirname "$0")/.."

tools/install.sh
cmake --preset release --log-level=WARNING >/dev/null
cmake --build --preset release --target kimberlite -- --quiet

kimberlite=build/release/apps/kimberlite
[ $# -eq 0 ] || exec $kimberlite run "$@"
ask() {
  printf '\n> %s\n' "$*"
  $kimberlite run -v --temp 0 -p "$@" 2> >(grep -vE '^(note|loading)' >&2)
}
ask "What is 12 + 7?"
ask "Tell me a story about Tom and a fox."
ask "What is in the picture?" --image tools/pebble/examples/red-circle.png
ask "What do you hear?" --audio tools/pebble/examples/three-beeps.wav
