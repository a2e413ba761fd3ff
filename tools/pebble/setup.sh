#!/bin/sh
# Creates the virtual environment of Pebble's training: tools/pebble/.venv, or the folder given.
# Nothing here is needed to build, test or run Kimberlite; only to train Pebble anew.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
venv=${1:-"$here/.venv"}
python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --requirement "$here/requirements.txt"
echo "ready: PYTHON=$venv/bin/python $here/make.sh"
