#!/usr/bin/env python3
"""Builds the shaders that need a newer glslc than Debian 12 has, with that of the driver lab.

  tools/driver-lab/prebuild.py [--lab FOLDER]

Writes shaders/prebuilt/NAME.spv for each kimberlite_prebuilt of shaders/manifest.cmake, removes what
is none, and says in shaders/prebuilt/prebuilt.json what they were made of.
tests/house/check_prebuilt.py holds them to it.
"""

import argparse
import hashlib
import json
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
OPTIONS = ["--target-env=vulkan1.3", "-O", "-Werror"]
FOLDER, RECORD = "shaders/prebuilt", "shaders/prebuilt/prebuilt.json"
INCLUDE = re.compile(r'^\s*#include\s+"([^"]+)"', re.M)


def modules(root):
    """name -> (source, defines) of what the manifest has prebuilt."""
    listed = subprocess.run(
        ["cmake", f"-DMANIFEST={pathlib.Path(root).resolve() / 'shaders/manifest.cmake'}", "-P",
         HERE / "list_prebuilt.cmake"], check=True, capture_output=True, text=True).stdout
    return {name: (source, defines)
            for name, source, *defines in (line.split() for line in listed.splitlines())}


def sources(root, source):
    """A shader and all it includes, by name, as paths below shaders."""
    shaders = pathlib.Path(root).resolve() / "shaders"
    found, waiting = set(), [shaders / source]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            for name in INCLUDE.findall(path.read_text()):
                beside = path.parent / name
                waiting.append(beside if beside.exists() else shaders / name)
    return sorted(path.relative_to(shaders).as_posix() for path in found)


def digest_sources(root, source, defines):
    """sha256 of everything that a module is made of but the compiler."""
    digest = hashlib.sha256(" ".join([*OPTIONS, *defines]).encode())
    for name in sources(root, source):
        text = (pathlib.Path(root) / "shaders" / name).read_bytes()
        digest.update(f"\n{name} {len(text)}\n".encode() + text)
    return digest.hexdigest()


def describe(root, module, spv):
    source, defines = module
    return {"sources": digest_sources(root, source, defines),
            "spirv": hashlib.sha256(spv).hexdigest()}


def run_in_lab(lab, folder, *command):
    """A command of the lab's Debian, with `folder` as its /mnt; its output."""
    script = 'mount --bind "$1" "$0/mnt"; root=$0; shift; exec chroot "$root" "$@"'
    return subprocess.run(["unshare", "--mount", "sh", "-ec", script, lab / "new", folder, *command],
                          check=True, stdout=subprocess.PIPE, text=True).stdout


def build(lab, root):
    (root / FOLDER).mkdir(exist_ok=True)
    record = {"compiler": run_in_lab(lab, root, "glslc", "--version").splitlines()[0],
              "options": OPTIONS, "modules": {}}
    for name, module in modules(root).items():
        source, defines = module
        spv = f"/mnt/{FOLDER}/{name}.spv"
        run_in_lab(lab, root, "glslc", *OPTIONS, "-I", "/mnt/shaders",
                   *(f"-D{define}" for define in defines), "-o", spv, f"/mnt/shaders/{source}")
        run_in_lab(lab, root, "spirv-val", "--target-env", "vulkan1.3", spv)
        record["modules"][name] = describe(root, module, (root / FOLDER / f"{name}.spv").read_bytes())
    for left in (root / FOLDER).glob("*.spv"):
        if left.stem not in record["modules"]:
            left.unlink()
    (root / RECORD).write_text(json.dumps(record, indent=2, sort_keys=True) + "\n")
    return record


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--lab", type=pathlib.Path, default=HERE.parents[1] / "build/driver-lab")
    lab = parser.parse_args().lab.resolve()
    if not (lab / "new/usr/bin/glslc").exists():
        parser.error(f"no glslc in {lab}: remove its versions.txt, run tools/driver-lab/setup.sh")
    record = build(lab, HERE.parents[1])
    print(f"{len(record['modules'])} modules, {record['compiler']}")


if __name__ == "__main__":
    sys.exit(main())
