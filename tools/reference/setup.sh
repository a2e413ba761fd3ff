#!/bin/sh
# Creates the virtual environment of the reference tools: tools/reference/.venv, or the folder given.
# Nothing here is needed to build, test or run Kimberlite; only to write tests/golden anew.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
venv=${1:-"$here/.venv"}
python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --requirement "$here/requirements.txt"
echo "ready: $venv/bin/python $here/make_golden.py --help"
