"""The top level, the paths that documents name, and no trace of the machine a file was written on."""

import os
import re
import sys

import repo

TOP_FOLDERS = {"shaders", "src", "include", "apps", "tests", "third_party", "tools"}
TOP_FILES = {"README.md", "ARCHITECTURE.md", "LICENSE", "CMakeLists.txt", "CMakePresets.json",
             "vcpkg.json"}
NAMED_PATH = re.compile(r"`((?:" + "|".join(sorted(TOP_FOLDERS)) + r")(?:/[\w.-]+)+/?)`")
# The pieces are apart so that this line does not find itself.
MACHINE_PATH = re.compile(r"(?<![\w.}~-])/(?:" + "|".join(["work", "root", "home"]) + r")/\w+")


def check_top_level(root):
    names = repo.files(root)
    folders = {n.split("/")[0] for n in names if "/" in n and not n.startswith(".")}
    singles = {n for n in names if "/" not in n and not n.startswith(".")}
    return ([f"{n}/: not one of the folders {sorted(TOP_FOLDERS)}" for n in
             sorted(folders - TOP_FOLDERS)]
            + [f"{n}: not one of the files {sorted(TOP_FILES)}" for n in
               sorted(singles - TOP_FILES)]
            + [f"{n}/: folder is missing" for n in sorted(TOP_FOLDERS - folders)]
            + [f"{n}: file is missing" for n in sorted(TOP_FILES - singles)])


def check_documents(root):
    """Paths in backticks exist (placeholders such as `src/kernels/K.cpp` aside), layers are named."""
    problems = []
    for document in ("README.md", "ARCHITECTURE.md", "shaders/README.md"):
        for path in NAMED_PATH.findall(repo.read(root, document)):
            placeholder = re.search(r"(^|/)K(_test)?\.", path)
            if not placeholder and not os.path.exists(os.path.join(root, path)):
                problems.append(f"{document}: names {path}, which does not exist")
    architecture = repo.read(root, "ARCHITECTURE.md")
    layers = {n.split("/")[1] for n in repo.files(root)
              if n.startswith("src/") and n.count("/") > 1}
    problems += [f"ARCHITECTURE.md: does not name `src/{layer}`" for layer in sorted(layers)
                 if f"`src/{layer}`" not in architecture]
    return problems


def check_machine_paths(root):
    problems = []
    for path in repo.files(root):
        text = repo.read(root, path)
        if "\0" in text[:4096]:
            continue  # binary
        problems += [f"{path}:{text.count(chr(10), 0, match.start()) + 1}: machine path "
                     f"{match.group(0)}" for match in MACHINE_PATH.finditer(text)]
    return problems


if __name__ == "__main__":
    sys.exit(repo.main(check_top_level, check_documents, check_machine_paths))
