#!/bin/sh
# Converts trained Pebble into the files that Kimberlite ships, and its prompts into a test's input.
#
#   ship.sh [FOLDER]            default: build/pebble, what make.sh wrote
#
# KIMBERLITE names the program that converts.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-build/pebble}
kimberlite=${KIMBERLITE:-"$here/../../build/release/apps/kimberlite"}
model=$here/model
about="A tiny Gemma 4 that comes with Kimberlite to show that everything works: trained from nothing
on a small generated world of text, pictures and sounds. It knows nothing else."
about=$(echo "$about" | tr '\n' ' ' | sed 's/ $//')

mkdir -p "$model"
convert() {  # folder, file, name, more options
  folder=$1 file=$2 name=$3
  shift 3
  "$kimberlite" convert "$out/$folder" "$model/$file" --type q8_0 --force --name "$name" \
    --description "$about" "$@"
}
convert hf pebble-Q8_0.gguf "Pebble"
convert hf mmproj-pebble-Q8_0.gguf "Pebble's eyes and ears" --mmproj
convert hf-drafter mtp-pebble-Q8_0.gguf "Pebble's drafter"
cp "$out/prompts.json" "$out/scores.json" "$out/acceptance.json" "$model/"
cp "$out/curves.svg" "$here/"
