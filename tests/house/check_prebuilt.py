"""Modules of shaders/prebuilt are what the record says, made of the sources as they are now."""

import json
import os
import pathlib
import sys

import repo

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools/driver-lab"))
import prebuild  # noqa: E402

AGAIN = "run tools/driver-lab/prebuild.py"


def check_prebuilt(root):
    record = json.loads(repo.read(root, prebuild.RECORD) or '{"modules": {}}')["modules"]
    wanted = prebuild.modules(root)
    there = {os.path.basename(n)[:-4] for n in repo.files(root)
             if n.startswith(prebuild.FOLDER + "/") and n.endswith(".spv")}
    problems = [f"{prebuild.FOLDER}/{name}.spv: shaders/manifest.cmake has no such module"
                for name in sorted((there | set(record)) - set(wanted))]
    for name, module in sorted(wanted.items()):
        path = f"{prebuild.FOLDER}/{name}.spv"
        if name not in there or name not in record:
            problems.append(f"{path}: is missing or not in {prebuild.RECORD}; {AGAIN}")
            continue
        now = prebuild.describe(root, module, (pathlib.Path(root) / path).read_bytes())
        problems += [f"{path}: {what} {record[name][what][:12]} in {prebuild.RECORD}, "
                     f"{now[what][:12]} in the tree; {AGAIN}"
                     for what in now if now[what] != record[name][what]]
    return problems


if __name__ == "__main__":
    sys.exit(repo.main(check_prebuilt))
